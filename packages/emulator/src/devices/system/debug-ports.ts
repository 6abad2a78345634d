/**
 * Ports by which a guest under test talks to its host: a debug console (as QEMU's isa-debugcon and Bochs' port 0xe9) and a debug exit
 * (as QEMU's isa-debug-exit: the process ends with status 2v + 1). References: QEMU hw/char/debugcon, hw/misc/debugexit (behaviour only).
 */
import { StatefulDevice, type AccessSize } from '../device.ts';
import { defineState, record, u32 } from '../schema.ts';

const empty = record({});
type Empty = Record<never, never>;

/** Reads give the port's own number (0xe9), by which a guest finds it; writes go to `transmit`. */
export class DebugConsole extends StatefulDevice<Empty> {
  readonly name: string;
  readonly ports;
  readonly #transmit: (byte: number) => void;

  constructor({ port, transmit }: { port: number; transmit: (byte: number) => void }) {
    const name = `debug-console-${port.toString(16)}`;
    super(defineState<Empty>({ name, version: 1, schema: empty }), () => ({}));
    this.name = name;
    this.ports = [{ first: port, last: port }];
    this.#transmit = transmit;
  }

  readPort(): number {
    return 0xe9;
  }
  writePort(_port: number, _size: AccessSize, value: number): void {
    this.#transmit(value);
  }
}

/** A write of v ends the run with status 2v + 1. */
export class DebugExit extends StatefulDevice<Empty> {
  readonly name = 'debug-exit';
  readonly ports;
  readonly #exit: (status: number) => void;

  constructor({ port, exit }: { port: number; exit: (status: number) => void }) {
    super(defineState<Empty>({ name: 'debug-exit', version: 1, schema: empty }), () => ({}));
    this.ports = [{ first: port, last: port + 3, width: 4 as const }];
    this.#exit = exit;
  }

  readPort(): number {
    return 0;
  }
  writePort(_port: number, _size: AccessSize, value: number): void {
    this.#exit(value * 2 + 1);
  }
}

const generationState = record({ low: u32, high: u32, heartbeat: u32 });
/**
 * Ports of `GenerationDevice`, relative to its base. A write of four bytes to `powerOff` switches the machine off; the lowest byte is the exit status of
 * what it was for.
 */
export const GenerationPort = { signature: 0, powerOff: 0, low: 4, high: 8, heartbeat: 12 } as const;
const signature = 0x544e5652; // "RVNT"

/**
 * Tells a guest that it was brought back: a number that grows with each restore on another node (the idea of Microsoft's
 * "Virtual Machine Generation ID"), and a port on which the guest may count its own life signs, and one by which it
 * ends with an exit status.
 */
export class GenerationDevice extends StatefulDevice<{ low: number; high: number; heartbeat: number }> {
  readonly name = 'generation';
  readonly ports;
  readonly #base: number;
  readonly #powerOff: (status: number) => void;

  constructor({ basePort, powerOff }: { basePort: number; powerOff: (status: number) => void }) {
    super(defineState({ name: 'generation', version: 1, schema: generationState }), () => ({
      low: 0,
      high: 0,
      heartbeat: 0,
    }));
    this.#base = basePort;
    this.#powerOff = powerOff;
    this.ports = [{ first: basePort, last: basePort + 15, width: 4 as const }];
  }

  /** Reset of the guest is no new generation. */
  override reset(): void {
    this.state.heartbeat = 0;
  }

  get heartbeat(): number {
    return this.state.heartbeat;
  }

  /** Sets the generation (an input of the machine). */
  setGeneration(generation: bigint): void {
    this.state.low = Number(generation & 0xffff_ffffn);
    this.state.high = Number((generation >> 32n) & 0xffff_ffffn);
  }

  readPort(port: number, size: AccessSize): number {
    const offset = port - this.#base;
    const register = [signature, this.state.low, this.state.high, this.state.heartbeat][offset >> 2] ?? 0;
    return size === 4 ? register : (register >>> ((offset & 3) * 8)) >>> 0;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (size !== 4) return;
    if (port - this.#base === GenerationPort.heartbeat) this.state.heartbeat = value;
    else if (port - this.#base === GenerationPort.powerOff) this.#powerOff(value & 0xff);
  }
}
