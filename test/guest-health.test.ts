/** Guests that end themselves: one that halts for good boots afresh, one that resets its machine again and again does so ever more slowly. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterClient, ClusterNode, makeSettings, type ClusterEvent } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { answerMs } from '../packages/cluster/src/testing/patience.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-health-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A multiboot kernel (version 0.6.96, 3.1: with the address fields) of nothing but this code, in 32-bit protected mode. */
function kernel(...code: number[]): Uint8Array {
  const [magic, flags, base] = [0x1bad_b002, 0x1_0000, 0x10_0000];
  const end = base + 32 + code.length;
  const header = [magic, flags, -(magic + flags), base, base, end, end, base + 32];
  const bytes = new Uint8Array(32 + code.length);
  header.forEach((word, n) => new DataView(bytes.buffer).setUint32(n * 4, word, true));
  bytes.set(code, 32);
  return bytes;
}

/** mov ecx, N; dec ecx; jnz; mov dx, 505h (pvpanic); mov al, 1; out dx, al; jmp $ */
const panics = kernel(
  0xb9,
  0x00,
  0x00,
  0x00,
  0x20,
  0x49,
  0x75,
  0xfd,
  0x66,
  0xba,
  0x05,
  0x05,
  0xb0,
  0x01,
  0xee,
  0xeb,
  0xfe,
);
const panicAt = 0x10_0020 + 14;

const halts = kernel(0xfa, 0xf4); // cli; hlt
const faults = kernel(0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0xcc); // lidt [0]; int3: no vector is within the limit

test('a guest that halts for good boots afresh; one that faults thrice resets, and soon waits for it', async () => {
  buildModules(() => undefined);
  const node = await ClusterNode.start({
    ...{ name: 'a', store: `file:${folder}/store`, listen: '127.0.0.1:0' },
    ...{ settings: makeSettings('default'), logLevel: 'silent', memoryMiB: 256 },
  });
  const client = new ClusterClient({ nodes: [node.address], answerMs });
  try {
    for (const [vmId, image] of Object.entries({ halts, faults })) {
      const description = { memoryBytes: 4 * 2 ** 20, kernel: await client.putBlob(image), commandLine: '' };
      const spec = { runtime: 'machine', description, memoryMiB: 4, priority: 1, outputs: 'async' as const };
      await client.command({ type: 'vm-create', vmId, spec, start: true });
    }
    let events: ClusterEvent[] = [];
    const of = (event: string, vm: string): string[] =>
      events.filter((each) => each.event === event && each.vm === vm).map(({ reason }) => reason);
    let boot = 0;
    for (let tries = 0; tries < 6000; tries++) {
      events = await client.events();
      ({ boot } = await client.vm('halts'));
      if (boot >= 3 && of('vm-reset', 'faults').length >= 3) break;
      await sleep(100);
    }
    assert.equal(of('vm-stopped-hung', 'halts')[0], 'the guest stopped its processor for good');
    assert.ok(boot >= 3);
    assert.deepEqual(of('vm-resuming', 'halts'), [], 'its checkpoints are no place to go on from');
    assert.deepEqual(of('vm-reset', 'faults').slice(0, 3), [
      'by the guest',
      'by the guest, again',
      'by the guest, again',
    ]);
    const times = events.filter(({ event }) => event === 'vm-reset').map(({ atMs }) => atMs);
    assert.ok(times[2]! - times[1]! >= 900, times.join(' '));
    assert.equal((await client.vm('faults')).tries, 0);
  } finally {
    await client.close();
    await node.close();
  }
});

/** Starts the command of an event, and gives the port on which it waits for gdb. */
async function startNamed(command: string): Promise<{ port: number; end: () => Promise<void> }> {
  const [program = '', ...words] = command.split(' ');
  assert.equal(program, 'revenant');
  const main = join(import.meta.dirname, '../packages/cli/src/main.ts');
  const child = spawn(process.execPath, [main, ...words, '--listen', '127.0.0.1:0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const port = await new Promise<number>((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => {
      said += bytes.toString();
      const found = /waiting for a debugger: target remote \S+:(\d+)/.exec(said)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.once('exit', () => {
      reject(new Error(said));
    });
  });
  return {
    port,
    end: async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}

async function gdb(port: number, commands: readonly string[]): Promise<string> {
  const all = [
    'set confirm off',
    'set pagination off',
    `target remote 127.0.0.1:${String(port)}`,
    ...commands,
  ];
  const child = spawn('gdb', ['-nx', '-q', '-batch', ...all.flatMap((command) => ['-ex', command])]);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
  await once(child, 'close');
  return said;
}

const skip = spawnSync('gdb', ['--version']).status === 0 ? false : 'there is no gdb';

test(
  'the event of a panic names a command, which opens the machine before it under gdb',
  { skip },
  async () => {
    buildModules(() => undefined);
    const store = `file:${folder}/panics`;
    const node = await ClusterNode.start({
      ...{ name: 'a', store, listen: '127.0.0.1:0' },
      ...{ settings: makeSettings('default'), logLevel: 'silent', memoryMiB: 256 },
    });
    const client = new ClusterClient({ nodes: [node.address], answerMs });
    try {
      const description = { memoryBytes: 4 * 2 ** 20, kernel: await client.putBlob(panics), commandLine: '' };
      const spec = {
        runtime: 'machine',
        description,
        memoryMiB: 4,
        priority: 1,
        checkpointMs: 200,
        outputs: 'async' as const,
      };
      await client.command({ type: 'vm-create', vmId: 'panics', spec, start: true });
      let named: string | undefined;
      for (let tries = 0; tries < 3000 && named === undefined; tries++) {
        await sleep(100);
        named = (await client.events()).find(({ event }) => event === 'vm-debug')?.reason;
      }
      assert.ok(named !== undefined, 'no event names a command');
      assert.match(named, /^opens it before that: revenant debug gdb panics@1-\d+ --store file:/);
      const { port, end } = await startNamed(named.slice(named.indexOf('revenant')));
      const said = await gdb(port, [
        `p/x $pc < ${String(panicAt)}`,
        `hbreak *${String(panicAt)}`,
        'continue',
        'x/i $pc',
        'p $al',
        'reverse-stepi',
        'x/i $pc',
      ]);
      await end();
      assert.match(said, /\$1 = 0x1/);
      assert.match(said, /=> 0x10002e:\s+out\s+%al,\(%dx\)/);
      assert.match(said, /\$2 = 1/);
      assert.match(said, /=> 0x10002c:\s+mov\s+\$0x1,%al/);
    } finally {
      await client.close();
      await node.close();
    }
  },
);
