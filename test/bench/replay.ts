/**
 * `npm run bench -- replay`: how fast a VM's past is run again (`revenant replay`), beside how long it took when it happened. One node runs a
 * Linux VM that keeps a log; a stretch from one of its checkpoints to another is repeated while the VM is paused.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Opener } from '../../packages/cli/src/checkpoint/opener.ts';
import { define } from '../../packages/cli/src/command/command.ts';
import { flag, value } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, positive } from '../../packages/cli/src/command/values.ts';
import { Past } from '../../packages/cli/src/replay/past.ts';
import { finish } from '../../packages/cli/src/replay/replay.ts';
import { TestCluster } from '../chaos/harness.ts';
import { CommitGuest, vmId } from './commit-guest.ts';
import { writeDocs } from './write-docs.ts';

const loads = ['idle', 'shell', 'disk'] as const;
type Load = (typeof loads)[number];

interface Row {
  load: Load;
  originalMs: number;
  instructions: number;
  /** From the wish until the machine of the earlier checkpoint is there. */
  openedMs: number;
  replayMs: number;
}

async function measure(cluster: TestCluster, guest: CommitGuest, load: Load, seconds: number): Promise<Row> {
  const { client } = cluster;
  if (load !== 'idle') await guest.workOn(load);
  const began = Date.now();
  // Longer than between two checkpoints at each end.
  await sleep((seconds + 2.5) * 1000);
  await client.command({ type: 'vm-pause', vmId });
  const opener = new Opener(cluster.options.store);
  try {
    const past = await Past.open(opener, vmId);
    const from = past.moments.find(({ head }) => head.createdAtMs >= began);
    const to = past.newest;
    if (from === undefined || from === to) throw new Error('too few checkpoints: more --seconds');
    const asked = performance.now();
    const run = await past.run(from, { say: () => undefined });
    const opened = performance.now();
    await finish(run.target.goTo(to.head.instructions));
    const replayMs = performance.now() - opened;
    await run.close();
    return {
      ...{ load, replayMs, openedMs: opened - asked },
      originalMs: to.head.createdAtMs - from.head.createdAtMs,
      instructions: Number(to.head.instructions - from.head.instructions),
    };
  } finally {
    await opener.close();
    await client.command({ type: 'vm-resume', vmId });
    if (load !== 'idle') await guest.rest();
  }
}

const titles: Record<Load, string> = {
  idle: 'idle at its shell',
  shell: 'short processes and files',
  disk: 'writes and syncs its disk',
};

function toMarkdown(rows: readonly Row[]): string {
  const lines = rows.map(({ load, originalMs, replayMs, openedMs, instructions }) => {
    const cells = [
      ...[titles[load], (instructions / 1e6).toFixed(0), (originalMs / 1000).toFixed(2)],
      ...[(replayMs / 1000).toFixed(2), (originalMs / replayMs).toFixed(2), openedMs.toFixed(0)],
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| the guest | million instructions | took, s | again, s | times as fast | opened after, ms |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...lines,
    '',
  ].join('\n');
}

export const command = define({
  words: [],
  about: "The same stretch of a VM's life, when it happened and as `revenant replay` repeats it.",
  options: {
    seconds: value('N', 'of each load (default 5)', positive, 5),
    loads: value('LIST', `${loads.join(', ')} (default: all)`, commaSeparated(oneOf(loads)), [...loads]),
    'write-docs': flag('put the table into docs/BENCHMARKS.md'),
  },
  examples: ['replay --loads shell --seconds 3'],
  async run({ options }) {
    const folder = mkdtempSync(join(tmpdir(), 'revenant-replay-'));
    const store = `file:${folder}/store`;
    const cluster = new TestCluster({ store, folder, profile: 'default', nodes: ['a'] });
    let guest: CommitGuest | undefined;
    try {
      await cluster.start();
      guest = await CommitGuest.boot(cluster);
      await guest.setPolicy('log');
      const rows: Row[] = [];
      for (const load of options.loads) rows.push(await measure(cluster, guest, load, options.seconds));
      const text = toMarkdown(rows);
      process.stdout.write(text);
      if (options['write-docs']) writeDocs('bench replay', text);
    } finally {
      guest?.close();
      await cluster.end();
      rmSync(folder, { recursive: true, force: true });
    }
    return undefined;
  },
});
