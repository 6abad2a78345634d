/**
 * MSI-X: PCI Local Bus Specification 3.0, section 6.8.2. A capability in configuration space, and a table of messages in a BAR, each of which
 * is a write of `data` to `address` (SDM Vol. 3A 11.11: to the local APICs). A message whose vector is masked waits in the pending bits.
 */
import { partOf, type AccessSize } from '../device.ts';
import { list, record, u16, u32, type Infer } from '../schema.ts';

const capabilityId = 0x11;
export const msixCapabilityBytes = 12;
const entryBytes = 16;
/** 6.8.2.3: message control. */
const Control = { functionMask: 0x4000, enable: 0x8000 } as const;
/** 6.8.2.9: vector control. */
const vectorMasked = 1;
const maxVectors = 16;

const entrySchema = record({ addressLow: u32, addressHigh: u32, data: u32, control: u32 });
export const msixState = record({
  /** The two bits that software may change. */
  control: u16,
  entries: list(entrySchema, maxVectors),
  /** A bit for each vector. */
  pending: u32,
});
export type MsixState = Infer<typeof msixState>;

/** Takes a message: where it is written, and what. */
export type MessageSink = (address: { low: number; high: number }, data: number) => void;

export interface MsixLayout {
  vectors: number;
  /** Offset of the capability in configuration space. */
  capability: number;
  /** Offsets in BAR 0, multiples of 8. */
  table: number;
  pending: number;
}

export class Msix {
  readonly #layout: MsixLayout;
  readonly #send: MessageSink;

  constructor(layout: MsixLayout, send: MessageSink) {
    this.#layout = layout;
    this.#send = send;
  }

  powerOn(): MsixState {
    const entry = { addressLow: 0, addressHigh: 0, data: 0, control: vectorMasked };
    return {
      control: 0,
      entries: Array.from({ length: this.#layout.vectors }, () => ({ ...entry })),
      pending: 0,
    };
  }

  /** The last of the capability list, as it is after RST#. */
  capability(): Uint8Array {
    const { vectors, table, pending } = this.#layout;
    const view = new DataView(new ArrayBuffer(msixCapabilityBytes));
    view.setUint8(0, capabilityId);
    view.setUint16(2, vectors - 1, true);
    view.setUint32(4, table, true);
    view.setUint32(8, pending, true);
    return new Uint8Array(view.buffer);
  }

  /** Whether software uses messages; INTx# is not asserted then. */
  enabled({ control }: MsixState): boolean {
    return (control & Control.enable) !== 0;
  }

  /** Bits that the message control register has besides its size; undefined for other registers. */
  readConfiguration(state: MsixState, register: number): number | undefined {
    if (register === this.#layout.capability + 3) return state.control >> 8;
    return undefined;
  }

  writeConfiguration(state: MsixState, register: number, byte: number): void {
    if (register !== this.#layout.capability + 3) return;
    state.control = (byte << 8) & (Control.enable | Control.functionMask);
    this.#sendPending(state);
  }

  /** Undefined where neither table nor pending bits are. */
  read(state: MsixState, offset: number, size: AccessSize): number | undefined {
    const { table, pending, vectors } = this.#layout;
    if (offset >= pending && offset < pending + 8) {
      const word = offset - pending < 4 ? state.pending : 0;
      return partOf(word, offset, size);
    }
    const entry = state.entries[Math.floor((offset - table) / entryBytes)];
    if (entry === undefined || offset < table || offset >= table + vectors * entryBytes) return undefined;
    const words = [entry.addressLow, entry.addressHigh, entry.data, entry.control];
    return partOf(words[((offset - table) % entryBytes) >> 2] ?? 0, offset, size);
  }

  /** 6.8.2: only whole doublewords may be written. False where neither table nor pending bits are. */
  write(state: MsixState, offset: number, size: AccessSize, value: number): boolean {
    const { table, pending, vectors } = this.#layout;
    if (offset >= pending && offset < pending + 8) return true;
    if (offset < table || offset >= table + vectors * entryBytes) return false;
    const entry = state.entries[Math.floor((offset - table) / entryBytes)];
    if (entry === undefined || size !== 4) return true;
    const names = ['addressLow', 'addressHigh', 'data', 'control'] as const;
    const name = names[((offset - table) % entryBytes) >> 2];
    if (name === 'control') entry.control = value & vectorMasked;
    else if (name !== undefined) entry[name] = name === 'addressLow' ? (value & ~3) >>> 0 : value;
    this.#sendPending(state);
    return true;
  }

  /** The device has something to say by this vector. */
  raise(state: MsixState, vector: number): void {
    if (vector >= this.#layout.vectors) return;
    state.pending = (state.pending | (1 << vector)) >>> 0;
    this.#sendPending(state);
  }

  #sendPending(state: MsixState): void {
    if (state.pending === 0 || (state.control & (Control.enable | Control.functionMask)) !== Control.enable)
      return;
    state.entries.forEach(({ addressLow, addressHigh, data, control }, vector) => {
      const bit = 1 << vector;
      if (!(state.pending & bit) || control & vectorMasked) return;
      state.pending = (state.pending & ~bit) >>> 0;
      this.#send({ low: addressLow, high: addressHigh }, data);
    });
  }

  /** Why a saved state can't be this function's; undefined when it can. */
  whyNot(state: MsixState): string | undefined {
    if (state.entries.length !== this.#layout.vectors)
      return `it has ${String(this.#layout.vectors)} vectors`;
    if (state.control & ~(Control.enable | Control.functionMask)) return 'message control has unknown bits';
    if (state.pending >>> this.#layout.vectors !== 0) return 'a vector is pending that it does not have';
    return undefined;
  }
}
