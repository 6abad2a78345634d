/**
 * Disks in the cluster: a VM on a base image in the store runs on one node, is taken over by another, and keeps its disk over a
 * power-off, with pages of the image read from the store when the guest first asks for them.
 */
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { makeSettings, type Event, type ProtectedVm } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import {
  baseImageName,
  importBaseImage,
  MemoryStore,
  openCheckpoint,
  PagePool,
  type ObjectStore,
} from '@revenant/storage';
import { readImageFile } from '../../packages/cli/src/images/image.ts';
import { blobsPrefix } from '../../packages/cluster/src/stored/blobs.ts';
import { VmHost } from '../../packages/cluster/src/vm/vm-host.ts';
import { imageOrSkip } from './shell.ts';

const diskBytes = 4 * 2 ** 20;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A node as far as its VMs: its host, the guests' output and what it told. */
class Node {
  readonly host: VmHost;
  readonly store: ObjectStore;
  readonly events: Event[] = [];
  readonly log: string[] = [];
  output = '';
  #attempt = 0;

  constructor(name: string, store: ObjectStore) {
    this.store = store;
    this.host = new VmHost({
      node: name,
      store,
      settings: makeSettings('default', { checkpointMs: 300 }),
      tell: (event) => this.events.push(event),
      log: ({ event }) => this.log.push(event),
      output: (_vm, _epoch, { bytes }) => (this.output += Buffer.from(bytes).toString('latin1')),
    });
    this.host.do({ type: 'grant', until: Infinity });
  }

  async waitFor(what: string, found: () => boolean | Promise<boolean>): Promise<void> {
    for (let n = 0; n < 6000 && !(await found()); n++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(await found(), `${what}: ${JSON.stringify(this.events)}\n${this.output.slice(-2000)}`);
  }

  printed(pattern: RegExp): Promise<void> {
    return this.waitFor(`${String(pattern)} is printed`, () => pattern.test(this.output));
  }

  /** Takes the VM over from `expectedEpoch`, and runs it. */
  async run(vm: ProtectedVm, expectedEpoch: number): Promise<number> {
    const attempt = ++this.#attempt;
    this.host.do({ type: 'raise', vmId: vm.id, attempt, expectedEpoch, incarnation: 1 });
    const raised = (): Event | undefined =>
      this.events.find((event) => event.type === 'raised' && event.attempt === attempt);
    await this.waitFor('the epoch is raised', () => raised() !== undefined);
    const epoch = (raised() as { epoch: number }).epoch;
    this.host.do({ type: 'run', vm, epoch, paused: false, until: Infinity });
    return epoch;
  }

  stopped(epoch: number): Promise<void> {
    return this.waitFor('the VM stops', () =>
      this.events.some((event) => event.type === 'stopped' && event.epoch === epoch),
    );
  }

  type(line: string): void {
    void this.host.input('vm', [{ kind: 'serial', port: 0, bytes: new TextEncoder().encode(`${line}\n`) }]);
  }
}

test('a VM keeps its disk over a take-over and a power-off', { timeout: 1_800_000 }, async (context) => {
  const image = await imageOrSkip(context, 'linux-cloud');
  if (image === undefined) return;
  buildModules(() => undefined);
  const store = new MemoryStore();
  const pool = new PagePool({ threads: 0 });
  const content = new Uint8Array(diskBytes);
  for (let at = 0; at < diskBytes; at += 512)
    content.set(new TextEncoder().encode(`sector ${String(at / 512)}\n`), at);
  await importBaseImage(store, baseImageName(sha256(content)), [content], { pool });
  await pool.close();
  const put = async (bytes: Uint8Array): Promise<string> => {
    await store.put(blobsPrefix + sha256(bytes), bytes);
    return sha256(bytes);
  };
  const vm = (boot: number): ProtectedVm => ({
    id: 'vm',
    desired: 'running',
    boot,
    status: 'running',
    reason: '',
    assignment: null,
    attempt: 0,
    tries: 0,
    avoid: [],
    moving: false,
    spec: { runtime: 'machine', memoryMiB: 128, priority: 0, outputs: 'async', description },
  });
  const description = {
    memoryBytes: 128 * 2 ** 20,
    kernel: await put(await readImageFile(image, 'kernel')),
    initrd: await put(await readImageFile(image, 'initrd')),
    commandLine: image.manifest.commandLine,
    disks: [{ name: 'disk0', bytes: diskBytes, base: { sha256: sha256(content) } }],
  };
  const [a, b] = [new Node('a', store), new Node('b', store)];
  try {
    const first = await a.run(vm(0), 0);
    await a.printed(/# /);
    a.type(
      'dd if=/dev/vda bs=512 skip=4000 count=1 2>/dev/null | head -n 1; echo changed | dd of=/dev/vda bs=512 seek=10 conv=fsync,notrunc',
    );
    await a.printed(/sector 4000\r?\n[^]*1\+0 records out|sector 4000\r?\n[^]*0\+1 records out/);
    const before = a.host.figures[0]?.checkpoints ?? 0;
    await a.waitFor('two more checkpoints', () => (a.host.figures[0]?.checkpoints ?? 0) >= before + 2);

    // Node b takes over; what a still has is fenced.
    const second = await b.run(vm(0), first);
    await b.waitFor('it runs', () => b.events.some(({ type }) => type === 'started'));
    await b.waitFor('the rest of its memory comes', () => b.log.includes('vm-resident'));
    const reader = await openCheckpoint(store, 'vm');
    let touched: number[] = [];
    await b.waitFor('what the guest touched is recorded', async () => {
      touched = [...((await reader.workingSet())['ram'] ?? [])];
      return touched.length > 0;
    });
    await reader.close();
    const groups = new Set(touched.map((page) => Math.floor(page / 16)));
    assert.ok(touched.length < groups.size * 16, 'without pages that only came along');
    b.type(
      'echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=512 skip=10 count=2 2>/dev/null | tr -d "\\0" | tr "\\n" "/"',
    );
    await b.printed(/changed\/[^]*sector 11\//);
    await a.stopped(first);

    // A live move: node a is ready before b's guest writes to its disk again, and stops.
    const owner = { state: 'owned', epoch: second, node: 'b', incarnation: 1 } as const;
    a.host.do({ type: 'prepare', vm: vm(0), owner });
    await a.waitFor('it is prepared', () => a.log.includes('vm-prepared'));
    b.type('word=kept; echo moving | dd of=/dev/vda bs=512 seek=14 conv=fsync,notrunc');
    await b.printed(/kept; echo moving[^]*0\+1 records out/);
    b.host.do({ type: 'hand-over', vmId: 'vm', epoch: second });
    await b.stopped(second);
    b.host.do({ type: 'release', vmId: 'vm', epoch: second });
    await b.waitFor('it is released', () => b.events.some(({ type }) => type === 'released'));
    a.output = '';
    const moved = await a.run(vm(0), second);
    await a.waitFor('it goes on', () =>
      a.events.some((event) => event.type === 'started' && event.epoch === moved),
    );
    a.type('echo $word; dd if=/dev/vda bs=512 skip=10 count=5 2>/dev/null | tr -d "\\0" | tr "\\n" "/"');
    await a.printed(/kept[^]*changed\/[^]*sector 11\/[^]*sector 13\/[^]*moving\//);
    a.type('echo later | dd of=/dev/vda bs=512 seek=12 conv=fsync,notrunc; poweroff -f');
    await a.stopped(moved);

    const third = await a.run(vm(1), moved);
    a.output = '';
    await a.printed(/is up[^]*# /);
    a.type('dd if=/dev/vda bs=512 skip=10 count=4 2>/dev/null | tr -d "\\0" | tr "\\n" "/"');
    await a.printed(/changed\/[^]*sector 11\/[^]*later\/[^]*sector 13\//);
    a.host.do({ type: 'stop', vmId: 'vm', epoch: third, mode: 'power-off' });
    await a.stopped(third);
  } finally {
    await a.host.close();
    await b.host.close();
  }
});
