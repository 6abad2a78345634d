/**
 * What every device is to the machine: ports and memory ranges it answers to, a reset, and a state that goes into
 * checkpoints. A device gets its lines, clock and backends by constructor and never knows another device.
 */
import { DeviceStateError, type StateDefinition } from './schema.ts';

export type AccessSize = 1 | 2 | 4;

/** An interrupt or other signal line, seen by the one that drives it. */
export interface Line {
  set(level: boolean): void;
}

/** The A20 gate, which the keyboard controller and port 0x92 share. */
export interface A20Gate {
  readonly enabled: boolean;
  set(enabled: boolean): void;
}

/** One timer of the machine's clock. It fires once, at the first instruction whose virtual time is >= the deadline. */
export interface Timer {
  /** Arms or re-arms. A deadline in the past fires before the next instruction. */
  arm(atNs: bigint): void;
  cancel(): void;
  readonly deadlineNs: bigint | undefined;
}

/** Virtual time in ns since power-on. */
export interface Clock {
  now(): bigint;
  /** `name` must be unique; timers due at the same time fire in the order of their creation. */
  timer(name: string, fire: () => void): Timer;
}

/** Physical memory as a bus master sees it. */
export interface GuestMemory {
  /** Bytes outside of RAM and ROM read as 0xff. */
  read(address: number, length: number): Uint8Array;
  /** As `read`, into memory that the caller has. */
  readInto(address: number, target: Uint8Array): void;
  /** Bytes outside of RAM are dropped. */
  write(address: number, data: Uint8Array): void;
}

/** `first` to `last`, inclusive. Wider accesses than `width` are split into several, as the ISA bus does. */
export interface PortRange {
  first: number;
  last: number;
  width?: AccessSize;
}
export interface MmioRange {
  base: number;
  length: number;
  width?: AccessSize;
}

export interface Device {
  /** Key of the state in a checkpoint; stable for ever. */
  readonly name: string;
  readonly version: number;
  readonly ports?: readonly PortRange[];
  readonly mmio?: readonly MmioRange[];
  readPort?(port: number, size: AccessSize): number;
  writePort?(port: number, size: AccessSize, value: number): void;
  /**
   * Items of `size` bytes that the guest reads one after the other: as many as fill `into` at most, and only such as could be read one by one without
   * a change of anything but how far the guest has come. How many there were.
   */
  readItems?(port: number, size: AccessSize, into: Uint8Array): number;
  /** The same of items that the guest writes. */
  writeItems?(port: number, size: AccessSize, from: Uint8Array): number;
  /** `offset` is relative to the range's base. */
  readMemory?(offset: number, size: AccessSize, range: MmioRange): number;
  writeMemory?(offset: number, size: AccessSize, value: number, range: MmioRange): void;
  /** Hardware reset: the state after RESET#, timers cancelled, lines as the chip leaves them. */
  reset(): void;
  save(): unknown;
  /** Throws DeviceStateError and leaves the device as it was when the state is not usable. */
  restore(state: unknown, version: number): void;
}

/** Base of most devices: the whole state is one plain object described by a schema. */
export abstract class StatefulDevice<T> {
  abstract readonly name: string;
  protected state: T;
  readonly #definition: StateDefinition<T>;
  readonly #initial: () => T;

  constructor(definition: StateDefinition<T>, initial: () => T) {
    this.#definition = definition;
    this.#initial = initial;
    this.state = initial();
  }

  get version(): number {
    return this.#definition.version;
  }

  reset(): void {
    this.state = this.#initial();
    this.stateChanged();
  }

  save(): T {
    return this.#definition.save(this.state);
  }

  restore(state: unknown, version: number): void {
    const restored = this.#definition.restore(state, version);
    this.checkState(restored);
    this.state = restored;
    this.stateChanged();
  }

  /** Refuses a state whose fields are well-typed but contradict each other. */
  protected checkState(_state: T): void {}

  /** After reset and restore: arm timers again and drive lines from `state`. */
  protected stateChanged(): void {}

  protected refuseState(why: string): never {
    throw new DeviceStateError('DEVICE_STATE_INVALID', `${this.name}: ${why}`);
  }
}

/** Arms a timer for the time at which something is due; null: nothing is. */
export function followDueTime(timer: Timer, dueAtNs: bigint | null): void {
  if (dueAtNs === null) timer.cancel();
  else timer.arm(dueAtNs);
}

/** What an access of `size` bytes at an offset sees of the little-endian word that lies there. */
export function partOf(word: number, offset: number, size: AccessSize): number {
  return ((word >>> ((offset & 3) * 8)) & allOnes(size)) >>> 0;
}

/** All ones: what a read that nobody answers returns. */
export function allOnes(size: AccessSize): number {
  return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff;
}
