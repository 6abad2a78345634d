/**
 * Sums of a machine's state, by which an owner and its standby are compared: CRC-32 of each page, and one hash of processors and devices.
 * They find what went wrong by itself (a flipped bit, a difference between two hosts), and are no proof against an attacker: both sides are
 * nodes that trust each other.
 */
import { crc32 } from 'node:zlib';
import { createHash } from 'node:crypto';
import { hashValue } from '@revenant/emulator/hash';
import type { MachineSnapshot } from '@revenant/storage';

export interface PageSums {
  /** Ascending. */
  indexes: Uint32Array;
  sums: Uint32Array;
}

export interface StateSums {
  /** Of processors, devices and time. */
  rest: string;
  /** By space: pages that changed. */
  pages: Record<string, PageSums>;
}

/** How its time is written down there differs between two machines that tell the same time. */
const machineDevice = 'machine';

export const sumOf = (page: Uint8Array): number => crc32(page);

/** Of a snapshot: all that it lists. */
export function sumsOf({ cpus, devices, instructions, virtualTimeNs, spaces }: MachineSnapshot): StateSums {
  const hash = createHash('sha256');
  const { [machineDevice]: _time, ...chips } = devices;
  hashValue(
    { update: (data) => hash.update(data), digest: () => hash.digest() },
    { cpus, chips, instructions, virtualTimeNs },
  );
  const pages: StateSums['pages'] = {};
  for (const { name, indexes, bytes, pageSize } of spaces) {
    const sums = Uint32Array.from(indexes, (_, i) => sumOf(bytes.subarray(i * pageSize, (i + 1) * pageSize)));
    pages[name] = { indexes, sums };
  }
  return { rest: hash.digest('hex'), pages };
}

/** Four bytes each, little-endian. */
export function packNumbers(numbers: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 4);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, i) => {
    view.setUint32(i * 4, number, true);
  });
  return bytes;
}

export function unpackNumbers(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(i * 4, true));
}
