/**
 * A checkpoint is the same checkpoint on every store: Linux, restored from a chain of three checkpoints on memory:, file: and s3:, whole and
 * with most of its memory absent, is after the same further instructions what the machine is that was never stopped.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import {
  diskPageBytes,
  restoreMachine,
  type AbsentPages,
  type Machine,
  type MachineSnapshot,
} from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import {
  CheckpointWriter,
  openCheckpoint,
  openStore,
  PagePool,
  raiseEpoch,
  type ObjectStore,
} from '@revenant/storage';
import { LazyRam } from '../../packages/cluster/src/vm/lazy-ram.ts';
import { startCeph } from '../../packages/storage/test-support/ceph.ts';
import { boot, bootInstructions, imageOrSkip } from './shell.ts';

const work = 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); cat /bin/busybox | sha256sum; done\n';
const furtherInstructions = 30_000_000n;
const vm = 'drivers';

const folder = await mkdtemp(join(tmpdir(), 'revenant-drivers-'));
const pool = new PagePool({ threads: 0 });
after(async () => {
  await pool.close();
  await rm(folder, { recursive: true, force: true });
});

function runFor(machine: Machine, instructions: bigint): void {
  const end = machine.instructions + instructions;
  while (machine.instructions < end) machine.run({ instructions: end - machine.instructions });
}

function hashLater(machine: Machine): string {
  runFor(machine, furtherInstructions);
  return machine.stateHash();
}

interface Original {
  /** One after the other, the first with everything, the others with what changed. */
  snapshots: MachineSnapshot[];
  /** State hash of the machine itself, furtherInstructions after the last. */
  expected: string;
}

let made: Original | undefined;

async function original(context: TestContext): Promise<Original | undefined> {
  const image = await imageOrSkip(context, 'linux-cloud');
  if (image === undefined || made !== undefined) return made;
  const shell = await boot(image);
  shell.waitFor(/# /, bootInstructions);
  const { machine } = shell;
  machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode(work) });
  const snapshots = [machine.snapshot({ full: true })];
  for (let i = 0; i < 2; i++) {
    runFor(machine, 3_000_000n);
    snapshots.push(machine.snapshot());
  }
  made = { snapshots, expected: hashLater(machine) };
  return made;
}

async function restored(snapshot: MachineSnapshot, absent?: AbsentPages): Promise<Machine> {
  return restoreMachine({ snapshot, absent, engine: nodeEngine, backends: { hash: nodeHash } });
}

/** The newest checkpoint as a machine whose RAM comes when it is touched. */
async function restoredLazily(store: ObjectStore): Promise<Machine> {
  const reader = await openCheckpoint(store, vm, { pool });
  const lazy = await LazyRam.open(reader);
  assert.ok(lazy);
  assert.ok(lazy.absent.length > 1000, 'most of the memory comes later');
  const bytes = await lazy.read(lazy.absent);
  await reader.close();
  const slots = new Map([...lazy.absent].map((page, slot) => [page, slot]));
  const read = (page: number): Uint8Array => {
    const slot = slots.get(page);
    assert.ok(slot !== undefined, `page ${String(page)} is not one that comes later`);
    return bytes.subarray(slot * diskPageBytes, (slot + 1) * diskPageBytes);
  };
  return restored(lazy.snapshot, { indexes: lazy.absent, read });
}

async function checkDriver(context: TestContext, url: string): Promise<void> {
  const machine = await original(context);
  if (machine === undefined) return;
  const store = await openStore(url);
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, vm, { owner: 'test' }), { pool });
  for (const snapshot of machine.snapshots) await writer.write(structuredClone(snapshot));
  const reader = await openCheckpoint(store, vm, { pool });
  assert.deepEqual(reader.id, writer.last);
  const whole = await restored((await reader.readSnapshot()) as MachineSnapshot);
  await reader.close();
  assert.equal(hashLater(whole), machine.expected, 'restored whole');
  assert.equal(hashLater(await restoredLazily(store)), machine.expected, 'restored lazily');
  await store.close();
}

describe('the same checkpoint on other drivers goes on in the same way', { timeout: 1_800_000 }, () => {
  before(() => {
    buildModules(() => undefined);
  });

  test('memory:', (context) => checkDriver(context, 'memory:'));
  test('file:', (context) => checkDriver(context, `file:${folder}`));
  test('s3: on Ceph', async (context) => {
    if (process.env['REVENANT_CEPH'] === '0' && process.env['CI'] !== 'true') {
      context.skip('left out by REVENANT_CEPH=0');
      return;
    }
    const ceph = await startCeph();
    if ('unavailable' in ceph) {
      assert.notEqual(process.env['CI'], 'true', ceph.unavailable);
      context.skip(ceph.unavailable);
      return;
    }
    try {
      process.env['AWS_ACCESS_KEY_ID'] = ceph.credentials.accessKeyId;
      process.env['AWS_SECRET_ACCESS_KEY'] = ceph.credentials.secretAccessKey;
      const endpoint = encodeURIComponent(ceph.endpoint);
      await checkDriver(context, `s3://checkpoints/drivers?create=1&endpoint=${endpoint}`);
    } finally {
      await ceph.stop();
    }
  });
});
