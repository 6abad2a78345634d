// The worker thread of one VM. See vm-runtime.ts for what it may do and when.
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import {
  monotonicMs,
  type FromWorker,
  type Guest,
  type GuestFactory,
  type ToWorker,
  type WorkerStart,
} from './vm-runtime.ts';

const port = parentPort!;
const PROGRESS_MS = 200;
const IDLE_MS = 2;
/** Short, as a guest that just came waits for many of its pages, and who waits for the guest wants to know. */
const FIRST_SLICE = 10_000;
/** Output of slices whose lease ended meanwhile waits here; bounded by one slice, as no further slice runs. */
const held: Uint8Array[] = [];
const inbox: ToWorker[] = [];
let paused = false;
/** Between a reset and its `boot`, when the machine is no state to go on from. */
let resetting = false;
let until: Float64Array = new Float64Array(1);

function tell(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function serve(guest: Guest, message: ToWorker): void {
  switch (message.type) {
    case 'pause':
      paused = message.paused;
      return;
    case 'input':
      guest.input(message.bytes);
      return;
    case 'press':
      tell({ type: 'answer', id: message.id, value: guest.press(message.codes) });
      return;
    case 'screen':
      tell({ type: 'answer', id: message.id, value: guest.screen() });
      return;
    case 'boot':
      guest.boot?.(message.description, message.blobs);
      resetting = false;
      return;
    case 'give-back':
      guest.giveBack?.(message.buffers);
      return;
    case 'deliver':
      tell({ type: 'delivered', touched: guest.deliver?.(message.indexes, message.bytes) ?? [] });
      return;
    case 'advance':
      guest.advance?.(message.changes, message.generation);
      paused = message.paused;
      tell({ type: 'started', instructions: guest.instructions });
      return;
    case 'snapshot': {
      if (message.suspend) paused = true;
      const before = monotonicMs();
      const snapshot = guest.snapshot();
      const pauseMs = monotonicMs() - before;
      const buffers = new Set(snapshot.spaces.map(({ bytes }) => bytes.buffer));
      const own = [...buffers].filter((buffer) => buffer instanceof ArrayBuffer);
      tell({ type: 'snapshot', id: message.id, snapshot, pauseMs }, own);
      return;
    }
  }
}

const mayRun = (): boolean => !paused && !resetting && monotonicMs() < until[0]!;

/** All that waits; while the machine is reset, only what boots it. */
function nextMessages(): ToWorker[] {
  const boot = resetting ? inbox.findIndex(({ type }) => type === 'boot') : 0;
  return resetting ? (boot < 0 ? [] : inbox.splice(boot, 1)) : inbox.splice(0);
}

/** Bytes that the guest wrote on its console. */
let written = 0;

function letOut(guest: Guest): void {
  const output = guest.drainOutput();
  written += output.length;
  if (output.length > 0) held.push(output);
  if (held.length === 0 || monotonicMs() >= until[0]!) return;
  for (const bytes of held.splice(0)) tell({ type: 'output', bytes });
}

/** Changes whenever the guest shows the sign of life that is watched, or asks for its disks. */
function signOf(guest: Guest, watch: WorkerStart['watch']): string | undefined {
  const requests = String(guest.diskRequests ?? 0);
  switch (watch) {
    case undefined:
      return undefined;
    case 'console':
      return `${requests} ${String(written)}`;
    case 'instructions':
      return `${requests} ${String(guest.instructions)}`;
    case 'screen': {
      const cells = guest.screen()?.cells ?? new Uint8Array(0);
      return `${requests} ${createHash('sha256').update(cells).digest('base64')}`;
    }
  }
}

/** A worker is made before it is needed, and loads what it will most likely run. */
const preload = workerData as string | undefined;
if (preload !== undefined)
  (import(preload) as Promise<{ prepare?: () => Promise<void> }>)
    .then(({ prepare }) => prepare?.())
    .catch(() => undefined);
port.once('message', (start: WorkerStart) => {
  main(start).catch((error: unknown) => {
    tell({
      type: 'ended',
      reason: 'failed',
      message: error instanceof Error ? error.message : String(error),
    });
  });
});

async function main({
  module,
  start,
  lease,
  paused: startPaused,
  sliceInstructions,
  watch,
}: WorkerStart): Promise<void> {
  paused = startPaused;
  until = new Float64Array(lease);
  const { createGuest } = (await import(module)) as { createGuest: GuestFactory };
  const guest = await createGuest(start);
  port.on('message', (message: ToWorker) => inbox.push(message));
  tell({ type: 'started', instructions: guest.instructions });
  let first = true;
  let toldAt = 0;
  for (;;) {
    for (const message of nextMessages()) serve(guest, message);
    let idle = true;
    if (mayRun()) {
      const result = guest.run(first ? FIRST_SLICE : sliceInstructions);
      letOut(guest);
      if (first) tell({ type: 'first-slice' });
      first = false;
      if (result === 'powered-off') {
        const message = 'the guest powered itself off';
        tell({ type: 'ended', reason: 'powered-off', message, snapshot: guest.snapshot() });
        return;
      }
      if (result === 'halted') {
        const message = 'the guest stopped its processor for good';
        tell({ type: 'ended', reason: 'hung', message, snapshot: guest.snapshot() });
        return;
      }
      if (result === 'reset') {
        resetting = true;
        tell({ type: 'reset' });
      }
      idle = result !== 'limit';
    } else letOut(guest);
    const now = monotonicMs();
    if (now - toldAt >= PROGRESS_MS) {
      toldAt = now;
      tell({ type: 'progress', instructions: guest.instructions, sign: signOf(guest, watch) });
    }
    if (idle && (resetting || inbox.length === 0)) await pause(IDLE_MS);
    else await nextTurn();
  }
}
