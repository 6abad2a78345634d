/** Guests that end themselves: one that halts for good boots afresh, one that resets its machine again and again does so ever more slowly. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterClient, ClusterNode, makeSettings, type ClusterEvent } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';

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

const halts = kernel(0xfa, 0xf4); // cli; hlt
const faults = kernel(0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0xcc); // lidt [0]; int3: no vector is within the limit

test('a guest that halts for good boots afresh; one that faults thrice resets, and soon waits for it', async () => {
  buildModules(() => undefined);
  const node = await ClusterNode.start({
    ...{ name: 'a', store: `file:${folder}/store`, listen: '127.0.0.1:0' },
    ...{ settings: makeSettings('default'), logLevel: 'silent', memoryMiB: 256 },
  });
  const client = new ClusterClient({ nodes: [node.address], answerMs: 60_000 });
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
