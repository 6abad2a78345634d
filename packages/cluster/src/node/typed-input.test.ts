/** Lines typed at a guest through a kill, a freeze and a live move of its node. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ClusterClient } from '../client/cluster-client.ts';
import { NodeProcess } from '../demo/processes.ts';
import { until } from '../testing/until.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-typed-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const spec = { runtime: 'listens', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
const main = fileURLToPath(new URL('../../test-support/node-with-listening-guest.ts', import.meta.url));

/** REVENANT_LINES=240 REVENANT_LINE_MS=250: as a person types, for a minute. */
const lines = Number(process.env['REVENANT_LINES'] ?? 60);
const lineMs = Number(process.env['REVENANT_LINE_MS'] ?? 60);

test('every line that is typed through a kill, a freeze and a live move reaches the guest, once and in order', async () => {
  const nodes = new Map<string, NodeProcess>();
  for (const name of ['a', 'b', 'c', 'd']) {
    const logFile = join(folder, `${name}.log`);
    nodes.set(
      name,
      await NodeProcess.start({ store: `file:${folder}/store`, name, profile: 'default', logFile, main }),
    );
  }
  const client = new ClusterClient({ nodes: [...nodes.values()].map(({ address }) => address) });
  let [heard, typed] = ['', ''];
  const said: string[] = [];
  const follower = client.console(
    'v',
    (bytes) => (heard += Buffer.from(bytes).toString()),
    (line) => said.push(line),
  );
  const write = async (line: string): Promise<void> => {
    await until('room for a line', () => follower.write(Buffer.from(line)));
    typed += line;
  };
  const holder = async (): Promise<NodeProcess> => {
    const { assignment } = await client.waitFor('v', ['running']);
    return nodes.get(assignment!.node)!;
  };
  const hears = async (): Promise<void> => {
    // A failover may take the answer with it, and the question is typed then too.
    const digest = createHash('sha256').update(typed).digest('hex');
    const answer = `heard ${String(typed.length)} ${digest}`;
    await write('tell\n');
    await until('the guest has all of it', () => heard.includes(answer));
  };
  const frozen: NodeProcess[] = [];
  try {
    await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
    await holder();
    for (const [part, fault] of [
      ['killed', async () => (await holder()).kill()],
      ['frozen', async () => frozen.push(await holder()) && frozen[0]!.freeze()],
      ['moved', async () => client.command({ type: 'vm-migrate', vmId: 'v' })],
    ] as const) {
      for (let line = 0; line < lines / 3; line++) {
        await write(`${part} ${String(line)}\n`);
        if (line === Math.floor(lines / 6)) await fault();
        await sleep(lineMs);
      }
      await hears();
    }
    await until('all of it is acknowledged', () => follower.unacknowledged === 0);
    // What went the way of the first two nodes was sent again, and that was said.
    const again = said.filter((line) => /^\d+ bytes not acknowledged were sent again$/.test(line));
    assert.ok(again.length >= 1, said.join('; '));
    assert.ok(!said.some((line) => line.includes('lost')), said.join('; '));
    if (process.env['REVENANT_LINES'] !== undefined) console.log(said);
  } finally {
    follower.close();
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
  }
});
