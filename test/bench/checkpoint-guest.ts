/** The guest's thread of `bench checkpoint`: boots Linux, runs loads, takes snapshots on time; or goes on from a checkpoint. */
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { PageBuffers, restoreMachine, type Machine, type MachineSnapshot } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { PageClient, type PageChannelEnds } from '@revenant/storage';
import { findImage } from '../../packages/cli/src/images/image.ts';
import { prepare } from '../../packages/cluster/src/vm/machine-guest.ts';
import { boot, bootInstructions, type Shell } from '../linux/shell.ts';

export type ToGuest =
  | { type: 'prepare' }
  | { type: 'boot'; image: string; memoryBytes: number }
  | { type: 'command'; line: string }
  | { type: 'phase'; intervalMs: number | undefined; durationMs: number }
  | { type: 'written'; buffers: SharedArrayBuffer[] }
  | { type: 'restore'; snapshot: MachineSnapshot; absent: Uint32Array; pages: PageChannelEnds }
  | { type: 'deliver'; indexes: Uint32Array; bytes: Uint8Array };

export interface Phase {
  instructions: number;
  elapsedMs: number;
  /** Processor time of the guest's thread. */
  threadMs: number;
  /** Of each checkpoint: how long the guest stood still, and pages listed. */
  pausesMs: number[];
  pages: number[];
}

export type FromGuest =
  | { type: 'done' }
  | { type: 'phase'; phase: Phase }
  | { type: 'snapshot'; snapshot: MachineSnapshot }
  | { type: 'first' }
  /** Pages that the guest touched before they came. */
  | { type: 'delivered'; touched: number[] };

const port = parentPort;
if (port === null) throw new Error('this is a worker');
/** As in the cluster's worker. */
const sliceInstructions = 200_000;

const tell = (message: FromGuest, transfer: ArrayBuffer[] = []): void => {
  port.postMessage(message, transfer);
};
let shell: Shell | undefined;
const buffers = new PageBuffers();
let machine: Machine | undefined;
const touched: number[] = [];
let writing = false;

function takeSnapshot(from: Machine, phase: Phase): void {
  const before = performance.now();
  const snapshot = from.snapshot({ buffers });
  phase.pausesMs.push(performance.now() - before);
  phase.pages.push(snapshot.spaces.reduce((sum, { indexes }) => sum + indexes.length, 0));
  writing = true;
  tell(
    { type: 'snapshot', snapshot },
    snapshot.spaces.map(({ bytes }) => bytes.buffer).filter((buffer) => buffer instanceof ArrayBuffer),
  );
}

/** Runs by the wall clock for a while. A checkpoint waits until the one before is written. */
async function runPhase(intervalMs: number | undefined, durationMs: number): Promise<Phase> {
  const running = shell?.machine;
  if (running === undefined) throw new Error('no guest');
  const phase: Phase = { instructions: 0, elapsedMs: 0, threadMs: 0, pausesMs: [], pages: [] };
  const [began, from, cpu] = [performance.now(), running.instructions, process.threadCpuUsage()];
  let due = intervalMs === undefined ? Infinity : began + intervalMs;
  for (let now = began; now < began + durationMs; now = performance.now()) {
    if (now >= due && !writing) {
      takeSnapshot(running, phase);
      due = now + (intervalMs ?? Infinity);
    }
    const { reason, timeNs } = running.run({ instructions: sliceInstructions, idle: 'wait' });
    if (reason === 'idle') {
      const slept = performance.now();
      await pause(2);
      running.input({ kind: 'skip', toNs: timeNs + BigInt(Math.round((performance.now() - slept) * 1e6)) });
    } else await nextTurn();
  }
  phase.elapsedMs = performance.now() - began;
  const { user, system } = process.threadCpuUsage(cpu);
  phase.threadMs = (user + system) / 1000;
  phase.instructions = Number(running.instructions - from);
  return phase;
}

async function serve(message: ToGuest): Promise<void> {
  switch (message.type) {
    case 'prepare':
      await prepare();
      return tell({ type: 'done' });
    case 'boot': {
      const image = await findImage(message.image);
      if (image === undefined) throw new Error(`no image ${message.image}`);
      shell = await boot(image, { memoryBytes: message.memoryBytes });
      shell.waitFor(/# /, bootInstructions);
      shell.type('stty -echo; PS1="# "');
      return tell({ type: 'done' });
    }
    case 'command':
      shell?.type(message.line);
      return tell({ type: 'done' });
    case 'phase':
      return tell({ type: 'phase', phase: await runPhase(message.intervalMs, message.durationMs) });
    case 'written':
      for (const buffer of message.buffers) buffers.giveBack(buffer);
      writing = false;
      return;
    case 'restore': {
      const client = new PageClient(message.pages);
      const read = (page: number): Uint8Array => {
        touched.push(page);
        return client.page('ram', page) ?? new Uint8Array(4096);
      };
      machine = await restoreMachine({
        snapshot: message.snapshot,
        absent: { indexes: message.absent, read },
        engine: nodeEngine,
        backends: { hash: nodeHash },
      });
      machine.run({ instructions: 1 });
      return tell({ type: 'first' });
    }
    case 'deliver':
      machine?.deliver(message.indexes, message.bytes);
      return tell({ type: 'delivered', touched: touched.splice(0) });
  }
}

port.on('message', (message: ToGuest) => {
  serve(message).catch((error: unknown) => {
    throw error;
  });
});
