// How a node runs a VM: each in a worker thread of its own. The worker builds its guest through a `GuestFactory`; the node
// knows guests only by this interface, so that the chain guest of the tests and the emulator are one to it.
//
// The lease: a number in shared memory, in milliseconds of CLOCK_MONOTONIC (the same for all threads of a host). The worker
// compares it before each slice of at most `sliceInstructions`, and again before it lets the slice's output out. A process
// that was frozen for hours therefore executes at most one slice after its thaw, which nobody ever sees, as its epoch is over.
import type { TextScreen } from '@revenant/emulator';
import type { HealthPolicy } from '../decisions/health.ts';
import type { MachineSnapshot, PageChannelEnds, SpaceSnapshot } from '@revenant/storage';

/** Kernels and images by the SHA-256 of their bytes. */
export type Blobs = ReadonlyMap<string, Uint8Array>;

/** A guest between two slices. */
export interface Guest {
  /** Retired instructions. */
  readonly instructions: bigint;
  /**
   * Executes up to `instructions`. `idle`: it waits for input or for virtual time, which the host paces. `halted`: nothing but a reset
   * can make it go on.
   */
  run(instructions: number): 'limit' | 'idle' | 'powered-off' | 'reset' | 'halted';
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
  /** Requests of its disks so far. */
  readonly diskRequests?: number;
  /** Bytes for its console. */
  input(bytes: Uint8Array): void;
  /** Keys of its keyboard, by DOM `code`, pressed together and released in reverse. False when there is no such key, or no keyboard. */
  press(codes: readonly string[]): boolean;
  /** Its text screen; undefined without one. */
  screen(): TextScreen | undefined;
  /** What it wrote to its console since the last call. */
  drainOutput(): Uint8Array;
}

export interface GuestStart {
  /** `VmSpec.description` */
  description: unknown;
  /** To resume from; undefined: a cold start. */
  snapshot: MachineSnapshot | undefined;
  /** What the description names by hash (kernels, images), for a cold start. */
  blobs: Blobs;
  /** Differs for every start and resume: the guest's generation id. */
  generation: Uint8Array;
  /** Of a cold start: its disks as the power-off before left them. */
  disks?: readonly SpaceSnapshot[];
  /** Where the base images of its disks are read from, by disk, and pages of `ram`. */
  pages?: PageChannelEnds | undefined;
  /** Pages of RAM that the snapshot leaves out. */
  absentRam?: Uint32Array | undefined;
}

/** What a runtime's module exports as `createGuest`; it may export `prepare` too, called before a guest is needed. */
export type GuestFactory = (start: GuestStart) => Promise<Guest>;

export interface WorkerStart {
  /** URL of the module that exports `createGuest`. */
  module: string;
  start: GuestStart;
  /** Float64: until when the guest may run. */
  lease: SharedArrayBuffer;
  paused: boolean;
  sliceInstructions: number;
  /** The sign of life to be reported with `progress`. */
  watch: HealthPolicy['watch'] | undefined;
}

export type ToWorker =
  | { type: 'pause'; paused: boolean }
  | { type: 'snapshot'; id: number; suspend: boolean }
  /** Memory of a snapshot's pages, which are durable now. */
  | { type: 'give-back'; buffers: SharedArrayBuffer[] }
  | { type: 'input'; bytes: Uint8Array }
  | { type: 'deliver'; indexes: Uint32Array; bytes: Uint8Array }
  /** To a guest that was made to wait: answered by `started`. */
  | { type: 'advance'; changes: MachineSnapshot; generation: Uint8Array; paused: boolean }
  | { type: 'press'; id: number; codes: string[] }
  | { type: 'screen'; id: number }
  /** The answer to `reset`. */
  | { type: 'boot'; description: unknown; blobs: Blobs };

export type FromWorker =
  | { type: 'started'; instructions: bigint }
  | { type: 'first-slice' }
  | { type: 'output'; bytes: Uint8Array }
  /** `sign` changes whenever the guest shows the sign of life that is watched, or asks for its disks; undefined when none is. */
  | { type: 'progress'; instructions: bigint; sign: string | undefined }
  /** `touched`: pages that the guest needed before they were delivered. */
  | { type: 'delivered'; touched: number[] }
  | { type: 'snapshot'; id: number; snapshot: MachineSnapshot; pauseMs: number }
  /** Answer to `press` (a boolean) or `screen` (undefined without one). */
  | { type: 'answer'; id: number; value: boolean | TextScreen | undefined }
  /** The guest reset its machine, and waits for `boot`. */
  | { type: 'reset' }
  /** With a last snapshot when the guest switched itself off or halted for good: what its disks hold must last. */
  | { type: 'ended'; reason: 'powered-off' | 'hung' | 'failed'; message: string; snapshot?: MachineSnapshot };

/** The clock that leases are measured by: monotonic, and one for all threads of a host. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Runtimes that are built in. */
export const builtinRuntimes: Readonly<Record<string, string>> = {
  chain: new URL('./chain-guest.ts', import.meta.url).href,
  machine: new URL('./machine-guest.ts', import.meta.url).href,
};
