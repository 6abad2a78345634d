/** Bytes of a guest's memory at an address, linear or physical. */
import { hex } from './bytes.ts';
import type { GuestMemory } from './guest-memory.ts';
import { InspectError } from './view.ts';

export interface Piece {
  address: bigint;
  physical: bigint | undefined;
  bytes: Uint8Array;
}

export interface Wanted {
  address: bigint;
  length: number;
  /** The address is physical rather than linear. */
  physical: boolean;
}

/** Reads as asked for; throws when there is nothing at all. */
export async function readAt(memory: GuestMemory, { address, length, physical }: Wanted): Promise<Piece> {
  const bytes = await (physical ? memory.readPhysical(address, length) : memory.read(address, length));
  const mapping = physical ? undefined : await memory.translate(address);
  if (bytes.length === 0)
    throw new InspectError(
      physical
        ? `there is no memory at the physical address ${hex(address)}`
        : mapping === undefined
          ? `no page is present at ${hex(address)} (paging ${memory.mode})`
          : `${hex(address)} is at ${hex(mapping.physical)}, where there is no memory (a device?)`,
      physical ? 'leave --physical out for a linear address' : '--physical takes a physical address',
    );
  return { address, physical: physical ? address : mapping?.physical, bytes };
}
