/**
 * How a node runs a VM: each in a worker thread of its own. The worker builds its guest through a `GuestFactory`; the node
 * knows guests only by this interface, so that the chain guest of the tests and the emulator are one to it.
 *
 * The lease: a number in shared memory, in milliseconds of CLOCK_MONOTONIC (the same for all threads of a host). The worker
 * compares it before each slice of at most `sliceInstructions`, and again before it lets the slice's output out. A process
 * that was frozen for hours therefore executes at most one slice after its thaw, which nobody ever sees, as its epoch is over.
 */
import type {
  InputResult,
  LoggedInput,
  MachineInput,
  Rectangle,
  StampedOutput,
  TextScreen,
} from '@revenant/emulator';
import type { HealthPolicy } from '../decisions/health.ts';
import type { Nic } from '../decisions/records.ts';
import type { Cut } from './standby/comparison.ts';
import type { MachineSnapshot, PageChannelEnds, SpaceSnapshot } from '@revenant/storage';

/** Kernels and images by the SHA-256 of their bytes. */
export type Blobs = ReadonlyMap<string, Uint8Array>;

/** What a screen shows now: its size (0: there is none), and what of it changed, with pixels as red, green, blue, 255, row by row. */
export interface Look {
  width: number;
  height: number;
  changed: Rectangle[];
  pixels: Uint8Array<ArrayBuffer>;
  /** The guest's pointer goes to the place that it is told. */
  tablet: boolean;
}

/** A guest between two slices. */
export interface Guest {
  /** Retired instructions. */
  readonly instructions: bigint;
  /**
   * Executes up to `instructions`. `idle`: it waits for input or for virtual time, which the host paces. `halted`: nothing but a reset
   * can make it go on.
   */
  run(instructions: number): 'limit' | 'idle' | 'powered-off' | 'reset' | 'halted';
  /** After `powered-off`: with which status, where it gave one (0 to 255). */
  readonly exitStatus?: number | undefined;
  /** It does not run for a while, by its node's will: its clock stands still meanwhile. */
  rest?(): void;
  /** After `idle`: for how long it has nothing to do, unless input comes. Absent: nobody knows. */
  readonly waitsMs?: number;
  /** After `reset`: starts it again, as at first, from what its description names. Absent in guests that never reset. */
  boot?(description: unknown, blobs: Blobs): void;
  /** All that it is, with the pages changed since the last snapshot (all of them the first time). */
  snapshot(): MachineSnapshot;
  /** Shared memory of a snapshot's pages that nobody needs any more. */
  giveBack?(buffers: readonly SharedArrayBuffer[]): void;
  /** Becomes a later state of what it was made from, before it ran: `changes` lists pages that changed (`full: false`). */
  advance?(changes: MachineSnapshot, generation: Uint8Array): void;
  /**
   * Pages of RAM that had been left out; those that it has already stay as they are.
   * @returns those that it needed sooner, since the last delivery, in the order of first touch
   */
  deliver?(indexes: Uint32Array, bytes: Uint8Array): number[];
  /** Pages of its RAM that have not come yet. */
  readonly absentPages?: number;
  /** Pages of its RAM that it came by since the last call, ascending. Absent in guests without one. */
  accessed?(): Uint32Array;
  /** Requests of its disks so far. */
  readonly diskRequests?: number;
  /** Serial bytes for its console, keys, the power button: what became of it. */
  input(input: MachineInput): InputResult;
  /** Its text screen; undefined without one. */
  screen(): TextScreen | undefined;
  /** What its screen shows that it did not show at the last call; with `fresh` all of it. Absent in guests without one. */
  look?(fresh: boolean): Look;
  /** What it put out since the last call. */
  outputs(): StampedOutput[];
  /** What it is given is kept from now on, or no more. Absent in guests that can't be repeated. */
  keepLog?(on: boolean): void;
  /** What it was given since the last call, as it saw it: its log. */
  takeLog?(): LoggedInput[];
  /**
   * Instead of `run`, of a guest that was started with a log to replay: goes on along it. `end`: all of it is done; it may go live now.
   * Throws when it can't be what it was.
   */
  follow?(instructions: number): ReturnType<Guest['run']> | 'end';
  /** It goes live under a new owner, who tells it so. */
  resumed?(generation: Uint8Array): void;
  /** Of a guest that follows another: what came in further on. Absent in guests that can't follow. */
  further?(further: Further): void;
  /** Sums of its state, now; those of its memory, too, whatever that takes. From now on some of its cuts have those of its memory as well. */
  sums?(): Omit<Cut, 'cut'>;
  /** Its state where its owner cut checkpoints that it came by since the last call. */
  cuts?(): Cut[];
  /**
   * It stops following. `since`: its next snapshot lists all that changed behind that cut of its owner's; undefined: everything.
   */
  leads?(since: number | undefined): void;
  /**
   * A debugger comes: from now on the guest stands still, or runs, as that says. Absent in guests that are no machines.
   */
  debug?(ends: DebuggerEnds): Promise<GuestDebugger>;
}

/** What a debugger's session has of its guest's thread. */
export interface DebuggerEnds {
  /** To the debugger. */
  send: (bytes: Uint8Array) => void;
  /** It has taken its leave, or speaks no protocol that is known here. */
  close: () => void;
  /** The guest is to run, or to stand still. */
  changed: () => void;
}

/** A debugger at a guest (gdb's remote protocol). */
export interface GuestDebugger {
  /** The guest is to stand still. */
  readonly stopped: boolean;
  receive(bytes: Uint8Array): void;
  /** Everything that it sent so far has been answered. */
  settled(): Promise<void>;
  /** It is gone, and nothing of it is left at the guest. */
  end(): Promise<void>;
}

/** What another guest was given next, which this one follows. */
export interface Further extends Replay {
  /** The number of the next entry of the log. */
  next: number;
}

/** What a guest is to do again before it goes live. */
export interface Replay {
  log: LoggedInput[];
  /** And on to this instruction count. */
  to: bigint;
}

export interface GuestStart {
  /** Whether `takeLog` is going to be called. */
  keepLog?: boolean;
  /** To be done again by `follow` before it goes live. */
  replay?: Replay | undefined;
  /** It follows another guest until it is told to lead. */
  follows?: boolean;
  /** `VmSpec.description` */
  description: unknown;
  /** To resume from; undefined: a cold start. */
  snapshot: MachineSnapshot | undefined;
  /** What the description names by hash (kernels, images), for a cold start. */
  blobs: Blobs;
  /** Differs for every start and resume: the guest's generation id. */
  generation: Uint8Array;
  /** It goes on as it was, and does not hear that it was resumed. */
  identical?: boolean;
  /** Of a cold start: its disks as the power-off before left them. */
  disks?: readonly SpaceSnapshot[];
  /** Where the base images of its disks are read from, by disk, and pages of `ram`. */
  pages?: PageChannelEnds | undefined;
  /** Pages of RAM that the snapshot leaves out. */
  absentRam?: Uint32Array | undefined;
  /** Its network card, for a cold start. */
  nic?: Nic | undefined;
}

/** What a runtime's module exports as `createGuest`; it may export `prepare` too, called before a guest is needed. */
export type GuestFactory = (start: GuestStart) => Promise<Guest>;

export interface WorkerStart {
  /** URL of the module that exports `createGuest`. */
  module: string;
  start: GuestStart;
  /** Two of Float64: until when the guest may run, and how many messages of its thread were heard. */
  lease: SharedArrayBuffer;
  paused: boolean;
  sliceInstructions: number;
  /** The sign of life to be reported with `progress`. */
  watch: HealthPolicy['watch'] | undefined;
}

/** What the node asks a guest's thread: each question, and its answer. */
export interface Questions {
  /** The first question: builds the guest. */
  start: { ask: { start: WorkerStart }; answer: { instructions: bigint } };
  /** To a guest that was built to wait: it becomes a later state, and goes on. */
  advance: {
    ask: { changes: MachineSnapshot; generation: Uint8Array; paused: boolean };
    answer: { instructions: bigint };
  };
  pause: { ask: { paused: boolean }; answer: undefined };
  /** It stands still, or goes on: what it says has nowhere to go just now. */
  hold: { ask: { held: boolean }; answer: undefined };
  /** What it is given goes out with its outputs from now on, or no more. */
  keepLog: { ask: { on: boolean }; answer: { instructions: bigint } };
  snapshot: { ask: { suspend: boolean }; answer: { snapshot: MachineSnapshot; pauseMs: number } };
  /** Memory of a snapshot's pages, which are durable now. */
  giveBack: { ask: { buffers: SharedArrayBuffer[] }; answer: undefined };
  /** Pages of RAM; the answer names those that the guest needed before. */
  deliver: { ask: { indexes: Uint32Array; bytes: Uint8Array }; answer: { touched: number[] } };
  /** Pages of RAM that the guest came by since it was last asked. */
  accessed: { ask: object; answer: Uint32Array };
  screen: { ask: object; answer: TextScreen | undefined };
  look: { ask: { fresh: boolean }; answer: Look };
  /** To a guest that follows: what came in further on, entry by entry of the log, and up to which count. */
  further: { ask: { entries: { log: Uint8Array; next: number }[]; to: bigint }; answer: undefined };
  sum: { ask: object; answer: Omit<Cut, 'cut'> };
  /** It goes live once it has done all that it was told; answered then. See `Guest.leads`. */
  lead: {
    ask: { since: number | undefined; generation: Uint8Array; paused: boolean };
    answer: { instructions: bigint };
  };
  /** A debugger comes. False: the guest can't be debugged, or somebody does so already. */
  debug: { ask: object; answer: boolean };
  /** What it says; its answers are news. */
  debugBytes: { ask: { bytes: Uint8Array }; answer: undefined };
  /** It is gone. */
  debugEnd: { ask: object; answer: undefined };
  /** After the news `reset`. */
  boot: { ask: { description: unknown; blobs: Blobs }; answer: undefined };
}
export type QuestionName = keyof Questions;
export type Question = { [K in QuestionName]: { name: K } & Questions[K]['ask'] }[QuestionName];

/** Inputs in their binary form (encodeInputs), answered by an InputResult for each; or a question. */
export type ToWorker =
  { type: 'inputs'; id: number; bytes: Uint8Array } | { type: 'ask'; id: number; question: Question };

/** What a guest's thread says of its own accord. */
export type GuestNews =
  | { kind: 'first-slice' }
  /** `sign` changes whenever the guest shows the sign of life that is watched, or asks for its disks; undefined when none is. */
  | { kind: 'progress'; instructions: bigint; diskRequests: number; sign: string | undefined }
  /** The guest reset its machine, and waits for `boot`. */
  | { kind: 'reset' }
  /** Of the debugger at the guest: what it is to be told; that it is to go; whether the guest stands still by its will. */
  | { kind: 'debugger'; bytes?: Uint8Array; closed?: true; stopped?: boolean }
  /** It follows, and came by a checkpoint of its owner. */
  | { kind: 'cut'; cut: Cut }
  /** With a last snapshot when the guest switched itself off or halted for good: what its disks hold must last. */
  | {
      kind: 'ended';
      reason: 'powered-off' | 'hung' | 'failed';
      message: string;
      /** With which the guest switched itself off, where it gave one. */
      status?: number;
      snapshot?: MachineSnapshot;
    };

/**
 * Outputs and log in their binary forms (encodeOutputs, encodeLog), and news; or an answer. `upTo`: the instruction count at which they
 * were collected; nothing else came in up to there.
 */
export type FromWorker =
  | { type: 'outputs'; outputs?: Uint8Array; log?: Uint8Array; upTo?: bigint; news?: GuestNews }
  | { type: 'answer'; id: number; value: unknown };

/** The clock that leases are measured by: monotonic, and one for all threads of a host. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export const machineRuntime = new URL('./machine-guest.ts', import.meta.url).href;

/** Runtimes that are built in. */
export const builtinRuntimes: Readonly<Record<string, string>> = {
  chain: new URL('./chain-guest.ts', import.meta.url).href,
  machine: machineRuntime,
};
