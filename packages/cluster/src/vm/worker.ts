/** The worker thread of one VM. See vm-runtime.ts for what it may do and when, and for its three messages. */
import { createHash } from 'node:crypto';
import { getPriority, setPriority } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import {
  decodeInputs,
  decodeLog,
  encodeLog,
  encodeOutputs,
  type InputResult,
  type StampedOutput,
} from '@revenant/emulator/edge';
import { maxSleepMs, Quiet } from './quiet.ts';
import { ThreadDebugger } from './thread-debugger.ts';
import { whyEnded, whyHeapFull } from './thread-memory.ts';
import {
  monotonicMs,
  type FromWorker,
  type Guest,
  type GuestFactory,
  type GuestNews,
  type Look,
  type Question,
  type QuestionName,
  type Questions,
  type ToWorker,
  type WorkerStart,
} from './vm-runtime.ts';

const port = parentPort!;
const progressMs = 200;
/** Of a guest that is quiet and whose health nobody watches. */
const quietProgressMs = 1000;
const defaultIdleMs = 2;
/** Short, as a guest that just came waits for many of its pages, and who waits for the guest wants to know. */
const firstSlice = 10_000;
/**
 * While pages of its memory are being brought, which are put in between two turns: a guest that waits for one after the other in a long turn would wait
 * for most of them.
 */
const shortSlice = 100_000;
/** Of inputs that wait here for the guest's turn to end. */
const maxInboxBytes = 2 ** 20;
/** Output of slices whose lease ended meanwhile waits here; bounded by one turn, as no further turn runs. */
const held: StampedOutput[] = [];
const inbox: ToWorker[] = [];
let inboxBytes = 0;
const quiet = new Quiet(monotonicMs());
let paused = false;
/** What the guest says has nowhere to go: it stands still. */
let standsStill = false;
/** It does again what its log says, and is not live yet. */
let following = false;
/** It follows another guest's, as that goes on, until it is told to lead. */
let follows = false;
/** Who asked it to lead, and waits until it does. */
let leading: { id: number; ask: Questions['lead']['ask'] } | undefined;
/** Between a reset and its `boot`, when the machine is no state to go on from. */
let resetting = false;
/** Until when the guest may run, and how many of our messages were heard. */
let until: Float64Array = new Float64Array(2);
/** Messages with outputs or log; while more than a few were not heard the guest stands still, so that they don't pile up. */
let said = 0;
const maxUnheard = 64;
let guest: Guest | undefined;

/**
 * Of nice values (setpriority(2), which on Linux means this thread only): where guests and the compression of their pages leave no processor
 * idle, the thread that keeps the node's lease comes first.
 */
const belowNode = 5;
if (process.platform === 'linux') setPriority(0, Math.min(19, getPriority(0) + belowNode));

let wake = (): void => undefined;

/** Waits, at most so long, for a message. */
function rest(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

function tell(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

const tellNews = (news: GuestNews): void => tell({ type: 'outputs', news });
const debugging = new ThreadDebugger(tellNews, () => wake());
const answer = (id: number, value: unknown): void => tell({ type: 'answer', id, value });

/** Takes a message for the next time between two turns; more inputs than fit are refused at once. */
function receive(message: ToWorker): void {
  // Checkpoints are no company.
  if (message.type === 'inputs' || message.question.name === 'look') quiet.active(monotonicMs());
  if (message.type === 'inputs') {
    if (inboxBytes + message.bytes.length > maxInboxBytes)
      return answer(
        message.id,
        decodeInputs(message.bytes).map((): InputResult => 'full'),
      );
    inboxBytes += message.bytes.length;
  }
  inbox.push(message);
  wake();
}

const noScreen: Look = { width: 0, height: 0, changed: [], pixels: new Uint8Array(0), tablet: false };

/** In order: behind an input for which there is no room none is taken. */
function giveAll(guest: Guest, bytes: Uint8Array): InputResult[] {
  let full = false;
  return decodeInputs(bytes).map((input) => {
    const result = full ? 'full' : guest.input(input);
    full ||= result === 'full' && input.kind !== 'frame';
    return result;
  });
}

/** The answers to questions. */
const replies: {
  [K in Exclude<QuestionName, 'start' | 'snapshot' | 'lead' | 'debug' | 'debugEnd'>]: (
    guest: Guest,
    ask: Questions[K]['ask'],
  ) => unknown;
} = {
  pause: (guest, ask) => {
    paused = ask.paused;
    guest.rest?.();
  },
  hold: (guest, ask) => {
    standsStill = ask.held;
    guest.rest?.();
  },
  keepLog: (guest, { on }) => {
    guest.keepLog?.(on);
    return { instructions: guest.instructions };
  },
  giveBack: (guest, { buffers }) => guest.giveBack?.(buffers),
  deliver: (guest, { indexes, bytes }) => ({ touched: guest.deliver?.(indexes, bytes) ?? [] }),
  accessed: (guest) => guest.accessed?.() ?? new Uint32Array(0),
  screen: (guest) => guest.screen(),
  look: (guest, { fresh }) => guest.look?.(fresh) ?? noScreen,
  boot: (guest, { description, blobs }) => {
    guest.boot?.(description, blobs);
    resetting = false;
  },
  further: (guest, { entries, to }) => {
    for (const { log, next } of entries) guest.further?.({ log: decodeLog(log), next, to });
    if (entries.length === 0) guest.further?.({ log: [], next: 0, to });
  },
  sum: (guest) => guest.sums?.(),
  debugBytes: (_guest, { bytes }) => debugging.receive(bytes),
  advance: (guest, ask) => {
    // What it was told before is no part of the life that it takes over.
    guest.takeLog?.();
    guest.advance?.(ask.changes, ask.generation);
    paused = ask.paused;
    return { instructions: guest.instructions };
  },
};

function serve(guest: Guest, message: ToWorker): void {
  if (message.type === 'inputs') {
    inboxBytes -= message.bytes.length;
    return answer(message.id, giveAll(guest, message.bytes));
  }
  const { id, question } = message;
  if (question.name === 'start') throw new Error('the guest is there already');
  if (question.name === 'snapshot') return takeSnapshot(guest, id, question.suspend);
  if (question.name === 'lead') {
    leading = { id, ask: question };
    follows = false;
    return;
  }
  if (question.name === 'debug')
    return void debugging.open(guest).then(
      (isOpen) => answer(id, isOpen),
      () => answer(id, false),
    );
  if (question.name === 'debugEnd') return void debugging.end().then(() => answer(id, undefined));
  const reply = replies[question.name] as (guest: Guest, ask: Question) => unknown;
  answer(id, reply(guest, question));
}

function takeSnapshot(guest: Guest, id: number, suspend: boolean): void {
  if (suspend) paused = true;
  const before = monotonicMs();
  const snapshot = guest.snapshot();
  const pauseMs = monotonicMs() - before;
  // What led to it goes out before it: a log is whole up to each checkpoint.
  letOut(guest);
  const buffers = new Set(snapshot.spaces.map(({ bytes }) => bytes.buffer));
  const own = [...buffers].filter((buffer) => buffer instanceof ArrayBuffer);
  tell({ type: 'answer', id, value: { snapshot, pauseMs } }, own);
}

function mayRun(): boolean {
  // What is replayed was done already, whatever the guest is to do now.
  const maySpeak = following || (!paused && !standsStill && !debugging.stopped);
  return maySpeak && !resetting && said - until[1]! < maxUnheard && monotonicMs() < until[0]!;
}

/** All that waits; while the machine is reset, only what boots it, and while it follows its log nothing that would be part of it. */
function nextMessages(): ToWorker[] {
  if (!resetting && !following) return inbox.splice(0);
  const waits = (message: ToWorker): boolean => {
    const name = message.type === 'ask' ? message.question.name : 'input';
    return resetting
      ? name !== 'boot'
      : name === 'input' || name === 'snapshot' || name === 'debug' || (name === 'keepLog' && !follows);
  };
  const all = inbox.splice(0);
  inbox.push(...all.filter(waits));
  return all.filter((message) => !waits(message));
}

/** Bytes that the guest wrote on its console. */
let written = 0;

/** Lets the log out, and outputs while there is a lease. */
function letOut(guest: Guest): void {
  for (const entry of guest.outputs()) {
    held.push(entry);
    if (entry.output.kind === 'serial' && entry.output.port === 0) written += entry.output.bytes.length;
  }
  const log = guest.takeLog?.() ?? [];
  const leaving = monotonicMs() < until[0]! ? held.splice(0) : [];
  if (leaving.length === 0 && log.length === 0) return;
  const message: FromWorker & { type: 'outputs' } = { type: 'outputs', upTo: guest.instructions };
  if (leaving.length > 0) message.outputs = encodeOutputs(leaving);
  if (log.length > 0) message.log = encodeLog(log);
  if (leaving.length > 0) quiet.active(monotonicMs());
  said++;
  tell(message);
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

let isNeeded = false;

/** A worker is made before it is needed, and loads what it will most likely run. One that is needed already warms nothing up. */
const preload = workerData as string | undefined;
if (preload !== undefined)
  (import(preload) as Promise<{ prepare?: () => Promise<void> }>)
    .then(({ prepare }) => (isNeeded ? undefined : prepare?.()))
    .catch(() => undefined);

port.once('message', (message: ToWorker) => {
  isNeeded = true;
  port.on('message', receive);
  main(message).catch((error: unknown) => {
    tellNews({ kind: 'ended', reason: 'failed', message: whyEnded(error) });
  });
});

async function main(first: ToWorker): Promise<void> {
  if (first.type !== 'ask' || first.question.name !== 'start')
    throw new Error('it was not told what to start');
  const { start } = first.question;
  paused = start.paused;
  until = new Float64Array(start.lease);
  const { createGuest } = (await import(start.module)) as { createGuest: GuestFactory };
  guest = await createGuest(start.start);
  follows = start.start.follows === true;
  following = follows || start.start.replay !== undefined;
  if (follows) answer(first.id, { instructions: guest.instructions });
  await live(guest, start, first.id);
}

/** It is there, at the end of its log when it had one, and goes live. */
function begin(guest: Guest, { start }: WorkerStart, id: number): void {
  following = false;
  if (leading !== undefined) {
    const { ask } = leading;
    guest.leads?.(ask.since);
    guest.keepLog?.(true);
    paused = ask.paused;
  }
  if (start.identical !== true || leading !== undefined)
    guest.resumed?.(leading?.ask.generation ?? start.generation);
  answer(leading?.id ?? id, { instructions: guest.instructions });
}

/** It has done all that it was told, and waits for more. */
function caughtUp(guest: Guest, start: WorkerStart, id: number): 'idle' | 'live' {
  if (follows) return 'idle';
  begin(guest, start, id);
  return 'live';
}

function turn(guest: Guest, instructions: number): ReturnType<NonNullable<Guest['follow']>> {
  if (!following) return guest.run(instructions);
  try {
    return guest.follow?.(instructions) ?? 'end';
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const advice = '`revenant vm fork` makes a VM of a checkpoint without it';
    throw new Error(`its log does not fit its checkpoint (${why}): ${advice}`, { cause: error });
  }
}

/** How a turn of the guest ended it, if it did. */
function lastWords(guest: Guest, result: ReturnType<Guest['run']>): GuestNews | undefined {
  const { exitStatus: status } = guest;
  if (result === 'powered-off')
    return {
      kind: 'ended',
      reason: 'powered-off',
      message: `the guest powered itself off${status === undefined ? '' : ` with status ${String(status)}`}`,
      ...(status === undefined ? {} : { status }),
      snapshot: guest.snapshot(),
    };
  if (result === 'halted')
    return {
      kind: 'ended',
      reason: 'hung',
      message: 'the guest stopped its processor for good',
      snapshot: guest.snapshot(),
    };
  return undefined;
}

async function live(guest: Guest, start: WorkerStart, id: number): Promise<void> {
  const { watch, sliceInstructions } = start;
  if (!following) begin(guest, start, id);
  let first = true;
  let ran = true;
  let toldAt = 0;
  for (;;) {
    for (const message of nextMessages()) serve(guest, message);
    // Who has just come waits for its lease, and others wait for it.
    let idleMs: number | undefined = first || said > until[1]! ? defaultIdleMs : maxSleepMs;
    if (mayRun()) {
      ran = true;
      const slice = (guest.absentPages ?? 0) > 0 ? shortSlice : sliceInstructions;
      const result = turn(guest, first && !following ? firstSlice : slice);
      letOut(guest);
      for (const cut of guest.cuts?.() ?? []) tellNews({ kind: 'cut', cut });
      if (result === 'end') {
        if (caughtUp(guest, start, id) === 'live') continue;
        idleMs = maxSleepMs;
      } else {
        if (first && !following) {
          tellNews({ kind: 'first-slice' });
          first = false;
        }
        const ended = lastWords(guest, result);
        if (ended !== undefined) {
          await debugging.lastWords();
          return tellNews(ended);
        }
        if (result === 'reset') {
          resetting = true;
          tellNews({ kind: 'reset' });
        }
        const { waitsMs = defaultIdleMs, diskRequests = 0 } = guest;
        idleMs = result === 'limit' ? undefined : quiet.sleepMs({ waitsMs, diskRequests }, monotonicMs());
      }
    } else {
      // Its clock stands still while it may not run.
      if (ran) guest.rest?.();
      ran = false;
      letOut(guest);
    }
    debugging.look();
    const heapFull = whyHeapFull();
    if (heapFull !== undefined) throw new Error(heapFull);
    const now = monotonicMs();
    const everyMs = watch === undefined && quiet.isQuiet(now) ? quietProgressMs : progressMs;
    if (now - toldAt >= everyMs) {
      toldAt = now;
      const { instructions, diskRequests = 0 } = guest;
      tellNews({ kind: 'progress', instructions, diskRequests, sign: signOf(guest, watch) });
    }
    if (idleMs !== undefined && (resetting || following || inbox.length === 0)) await rest(idleMs);
    else await nextTurn();
  }
}
