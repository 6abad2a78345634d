/**
 * Bus master IDE of one channel: "Programming Interface for Bus Master IDE Controller" revision 1.0 (Intel, 1994). The physical region
 * descriptors that a driver writes are followed piece by piece; where it stopped is part of the state.
 */
import type { GuestMemory } from '../device.ts';
import { bool, integer, record, u32, u8, type Infer } from '../schema.ts';

export const BusMasterCommand = { start: 0x01, toMemory: 0x08 } as const;
export const BusMasterStatus = { active: 0x01, error: 0x02, interrupt: 0x04, drivesCanDma: 0x60 } as const;
const endOfTable = 0x8000_0000;
/** A table may not cross 64 KiB (1.3), so it has no more entries than that; also the bound for empty work. */
const maxDescriptors = 0x1_0000 / 8;

export const busMasterSchema = record({
  command: u8,
  status: u8,
  table: u32,
  /** Where the transfer stands: next descriptor, rest of the present one, whether that is the last. */
  next: u32,
  address: u32,
  left: integer(0, 0x1_0000),
  last: bool,
});
export type BusMasterState = Infer<typeof busMasterSchema>;

export function busMasterPowerOn(): BusMasterState {
  return { command: 0, status: 0, table: 0, next: 0, address: 0, left: 0, last: false };
}

/** The next piece of memory that the table names, at most `want` bytes; undefined when it is at its end. */
function nextPiece(
  state: BusMasterState,
  memory: GuestMemory,
  want: number,
): { address: number; length: number } | undefined {
  if (state.left === 0) {
    if (state.last) return undefined;
    const descriptor = new DataView(Uint8Array.from(memory.read(state.next, 8)).buffer);
    const flags = descriptor.getUint32(4, true);
    state.address = (descriptor.getUint32(0, true) & ~1) >>> 0;
    state.left = flags & 0xfffe || 0x1_0000;
    state.last = (flags & endOfTable) !== 0;
    state.next = (state.next + 8) >>> 0;
  }
  const length = Math.min(want, state.left);
  const { address } = state;
  state.address = (state.address + length) >>> 0;
  state.left -= length;
  return { address, length };
}

/** Moves `data` to memory; false when the table names less room. */
export function toMemory(state: BusMasterState, memory: GuestMemory, data: Uint8Array): boolean {
  let done = 0;
  for (let n = 0; n < maxDescriptors && done < data.length; n++) {
    const piece = nextPiece(state, memory, data.length - done);
    if (piece === undefined) return false;
    memory.write(piece.address, data.subarray(done, done + piece.length));
    done += piece.length;
  }
  return done === data.length;
}

/** `length` bytes from memory; undefined when the table names fewer. */
export function fromMemory(
  state: BusMasterState,
  memory: GuestMemory,
  length: number,
): Uint8Array | undefined {
  const data = new Uint8Array(length);
  let done = 0;
  for (let n = 0; n < maxDescriptors && done < length; n++) {
    const piece = nextPiece(state, memory, length - done);
    if (piece === undefined) return undefined;
    data.set(memory.read(piece.address, piece.length), done);
    done += piece.length;
  }
  return done === length ? data : undefined;
}

/** Registers of one channel: 0 command, 2 status, 4-7 table. `started` is called when the driver sets the start bit. */
export function readBusMaster(state: BusMasterState, register: number): number {
  switch (register) {
    case 0:
      return state.command;
    case 2:
      return state.status;
    default:
      return register >= 4 ? (state.table >>> ((register - 4) * 8)) & 0xff : 0;
  }
}

/** Writes one byte; returns what the driver did to the start bit. */
export function writeBusMaster(
  state: BusMasterState,
  register: number,
  value: number,
): 'started' | 'stopped' | undefined {
  if (register === 0) {
    const before = state.command;
    state.command = value & (BusMasterCommand.start | BusMasterCommand.toMemory);
    if (!((before ^ value) & BusMasterCommand.start)) return undefined;
    if (!(value & BusMasterCommand.start)) {
      state.status &= ~BusMasterStatus.active;
      return 'stopped';
    }
    Object.assign(state, { next: state.table, address: 0, left: 0, last: false });
    state.status |= BusMasterStatus.active;
    return 'started';
  }
  if (register === 2) {
    const cleared = value & (BusMasterStatus.error | BusMasterStatus.interrupt);
    state.status =
      (state.status & ~cleared & ~BusMasterStatus.drivesCanDma) | (value & BusMasterStatus.drivesCanDma);
  } else if (register >= 4) {
    const shift = (register - 4) * 8;
    state.table = ((state.table & ~(0xff << shift)) | (value << shift)) >>> 0;
    state.table = (state.table & ~3) >>> 0;
  }
  return undefined;
}
