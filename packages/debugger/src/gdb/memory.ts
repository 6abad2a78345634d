/** Memory for a debugger: what is not mapped ends a read, so that the part before it is seen. */
import type { Machine } from '@revenant/emulator';

const pageBytes = 4096n;

/** What an address means: a physical one, or a linear one of a processor, by its number; of the one whose turn it is unless it is named. */
export type AddressSpace = 'physical' | number | undefined;

/** Up to `length` bytes. */
export function readMemory(
  machine: Machine,
  address: bigint,
  length: number,
  space?: AddressSpace,
): Uint8Array {
  if (space === 'physical') return machine.memory.readPhysical(Number(address), length);
  const parts: Uint8Array[] = [];
  for (let at = address, left = length; left > 0;) {
    const size = Math.min(left, Number(pageBytes - (at % pageBytes)));
    const found = machine.memory.translate(at, space);
    if (found === undefined) break;
    parts.push(machine.memory.readPhysical(Number(found), size));
    at += BigInt(size);
    left -= size;
  }
  return joined(parts);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Where in physical memory bytes lie that are at an address, page by page; what is not mapped is left out. */
export function pieces(
  machine: Machine,
  address: bigint,
  bytes: Uint8Array,
  space: AddressSpace,
): { address: number; bytes: Uint8Array }[] {
  if (space === 'physical') return [{ address: Number(address), bytes }];
  const all: { address: number; bytes: Uint8Array }[] = [];
  for (let from = 0; from < bytes.length;) {
    const at = address + BigInt(from);
    const size = Math.min(bytes.length - from, Number(pageBytes - (at % pageBytes)));
    const found = machine.memory.translate(at, space);
    if (found !== undefined) all.push({ address: Number(found), bytes: bytes.subarray(from, from + size) });
    from += size;
  }
  return all;
}
