/**
 * The guest's edge: all that reaches a machine from outside, and all that leaves it. A new kind is one entry here, whoever makes it, and
 * whoever takes it (`InputConsumers` for inputs); schema, binary form, log, queue and wire follow from the entry.
 *
 * Codes are part of stored logs and of the wire: a code is never used again for something else, and fields of a kind are never changed;
 * a new shape is a new kind.
 */
import { tabletRange } from '../../devices/tablet-place.ts';
import {
  blob,
  choice,
  fields,
  flag,
  optional,
  signed64,
  text,
  unsigned64,
  whole,
  type Field,
} from './fields.ts';

/** Ethernet without its checksum, with room for a VLAN tag; segments that a card is to cut may be larger. */
const maxFrameBytes = 65_550;
/** Of one input or output of a serial port. */
export const maxSerialBytes = 65_536;

export interface Kind<T> {
  readonly code: number;
  readonly schema: Field<T>;
  /** The stream that it belongs to, within its kind: the port, the card. Undefined: the kind has one stream. */
  lane?(item: T): number;
  /** How many running numbers it takes: one, or one for each byte. */
  units?(item: T): number;
  /** Of kinds that may be taken in parts, and joined again: the part from unit `from` to unit `to`. */
  part?(item: T, from: number, to: number): T;
}

// What both directions have in common.
const serialFields = fields({ port: whole(0, 3), bytes: blob(1, maxSerialBytes) });
const frameFields = fields({ nic: whole(0, 7), bytes: blob(14, maxFrameBytes) });
const debugFields = fields({ port: whole(0, 0xffff), bytes: blob(1, maxSerialBytes) });
const consoleFields = fields({ port: whole(0, 1), bytes: blob(1, maxSerialBytes) });
const nothing = fields({});

type Bytes = { port: number; bytes: Uint8Array };
/** A stream of bytes for each port, whose bytes are numbered. */
const byteStream = {
  lane: ({ port }: Bytes): number => port,
  units: ({ bytes }: Bytes): number => bytes.length,
  part: (item: Bytes, from: number, to: number): Bytes => ({ ...item, bytes: item.bytes.subarray(from, to) }),
};
const perCard = { lane: ({ nic }: { nic: number; bytes: Uint8Array }): number => nic };

function kind<T>(
  code: number,
  schema: Field<T>,
  more: Pick<Kind<T>, 'lane' | 'units' | 'part'> = {},
): Kind<T> {
  return { code, schema, ...more };
}

/** All that can come into a machine, each with the schema of its fields. */
export const inputKinds = {
  /** Bytes received by serial port `port` (0 = COM1). */
  serial: kind(1, serialFields, byteStream),
  /** A key by its DOM `code`. */
  key: kind(2, fields({ code: text(32), pressed: flag })),
  /** A relative mouse: counts to the right, up and towards the user; buttons: bit 0 left, 1 right, 2 middle. */
  mouse: kind(
    3,
    fields({
      dx: whole(-32768, 32767),
      dy: whole(-32768, 32767),
      dz: whole(-32768, 32767),
      buttons: whole(0, 7),
    }),
  ),
  /** An Ethernet frame received by network card `nic`. */
  frame: kind(4, frameFields, perCard),
  /** Drive `drive` (`cdrom`, `floppy`) gets a disk of the machine's description by its name, or (null) is emptied. */
  medium: kind(5, fields({ drive: text(32), image: optional(text(255)) })),
  /** A short press: what a system does about it is its own affair; most shut down in order. */
  powerButton: kind(6, nothing),
  reset: kind(7, nothing),
  nmi: kind(8, nothing),
  /** While the processor waits, time passes up to `toNs`, each timer firing at its time, until an interrupt ends the waiting. */
  skip: kind(9, fields({ toNs: signed64 })),
  /** From now on this many ns per instruction (16.16): how a live machine follows the wall clock while it computes. */
  rate: kind(10, fields({ rate: whole(1, 0xffff_ffff) })),
  /** The wall clock now, in ns since 1970: what the RTC shows. */
  wallClock: kind(11, fields({ epochNs: signed64 })),
  /** Differs for every start and resume, so that a guest can tell that it was resumed. */
  generation: kind(12, fields({ generation: unsigned64 })),
  /** Stirred into the machine's random source: two machines resumed from one checkpoint draw different numbers. */
  entropy: kind(13, fields({ bytes: blob(1, 256) })),
  /** TLBs are emptied: part of taking a snapshot, so that a restored machine walks the same page tables. */
  flush: kind(14, nothing),
  /** Nothing happens: of a log, that there was no input up to here. */
  mark: kind(15, nothing),
  /** Bytes received by port `port` of the virtio console: 0 the console, 1 the channel. */
  console: kind(16, consoleFields, byteStream),
  /** The guest is to do without so many pages of 4 KiB: they are empty in checkpoints. */
  balloon: kind(17, fields({ pages: whole(0, 2 ** 20) })),
  /** A debugger's: these bytes are in memory from now on, at a physical address. */
  pokeMemory: kind(
    18,
    fields({ address: whole(0, Number.MAX_SAFE_INTEGER), bytes: blob(1, maxSerialBytes) }),
  ),
  /** A debugger's: a register of the processor (by its name in cpu-state.ts) has this value from now on, little-endian. */
  pokeRegister: kind(19, fields({ register: text(32), value: blob(1, 512) })),
  /**
   * A tablet: the place on the screen that is pointed at, from the left and from the top; the largest is the right and the lower edge. `dz` and `buttons` as
   * with `mouse`.
   */
  tablet: kind(
    20,
    fields({
      x: whole(0, tabletRange),
      y: whole(0, tabletRange),
      dz: whole(-32768, 32767),
      buttons: whole(0, 7),
    }),
  ),
} as const;

/** All that can come out of a machine, each with the schema of its fields. */
export const outputKinds = {
  /** Bytes sent by serial port `port`. */
  serial: kind(1, serialFields, byteStream),
  /** An Ethernet frame sent by network card `nic`. */
  frame: kind(2, frameFields, perCard),
  /** Bytes written to a debug console port. */
  debug: kind(3, debugFields, byteStream),
  /** The guest switched its machine off, reset it, ended the run (debug exit, with its status), or shut its processor down. */
  power: kind(4, fields({ what: choice('off', 'reset', 'exit', 'shutdown'), status: whole(0, 0xffff_ffff) })),
  /** Bytes sent by port `port` of the virtio console. */
  console: kind(5, consoleFields, byteStream),
  /** The guest's kernel panicked, or handles a panic by its crash kernel. */
  panic: kind(6, fields({ event: choice('panicked', 'crashLoaded') })),
} as const;

type ItemOf<K> = K extends Kind<infer T> ? T : never;
/** Name of a kind of input. */
export type InputKind = keyof typeof inputKinds;
/** Name of a kind of output. */
export type OutputKind = keyof typeof outputKinds;
/** The fields of an input of that kind. */
export type InputFields<K extends InputKind> = ItemOf<(typeof inputKinds)[K]>;
/** An input of that kind. */
export type InputOf<K extends InputKind> = { [P in K]: { kind: P } & InputFields<P> }[K];
/** An output of that kind. */
export type OutputOf<K extends OutputKind> = { [P in K]: { kind: P } & ItemOf<(typeof outputKinds)[P]> }[K];
/** Something that comes into a machine: `Machine.input` takes it. */
export type MachineInput = InputOf<InputKind>;
/** Something that a machine puts out. */
export type MachineOutput = OutputOf<OutputKind>;

/** Where in a machine's life something happened. */
export interface Stamp {
  /** Retired instructions. */
  instructions: bigint;
  /** Virtual time. */
  timeNs: bigint;
  /** Running number within its stream: that of its first unit. */
  number: number;
}

/** An input, and when the guest saw it. */
export interface LoggedInput extends Stamp {
  input: MachineInput;
}

/** An output, and when the guest made it; of several bytes, the last of them. */
export interface StampedOutput extends Stamp {
  output: MachineOutput;
}

export type Table = Readonly<Record<string, Kind<unknown>>>;

/** The table's entry of a kind. */
export function kindOf(table: Table, name: string): Kind<unknown> | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Name of the stream that an item belongs to: `serial/0`, `key`. */
export function streamOf(table: Table, item: MachineInput | MachineOutput): string {
  const lane = kindOf(table, item.kind)?.lane?.(item);
  return lane === undefined ? item.kind : `${item.kind}/${String(lane)}`;
}

/** How many running numbers an item takes in its stream. */
export function unitsOf(table: Table, item: MachineInput | MachineOutput): number {
  return kindOf(table, item.kind)?.units?.(item) ?? 1;
}

/** The units of an item from `from` to `to`; undefined when its kind comes whole only. */
export function partOf<T extends MachineInput | MachineOutput>(
  table: Table,
  item: T,
  from: number,
  to: number,
): T | undefined {
  return kindOf(table, item.kind)?.part?.(item, from, to) as T | undefined;
}
