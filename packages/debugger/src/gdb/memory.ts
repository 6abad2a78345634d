/** Memory for a debugger: what is not mapped ends a read, so that the part before it is seen. */
import { type Machine, MachineError } from '@revenant/emulator';

const pageBytes = 4096n;

function isUnmapped(error: unknown): boolean {
  return error instanceof MachineError && error.code === 'MACHINE_ADDRESS_UNMAPPED';
}

/** Up to `length` bytes. */
export function readMemory(machine: Machine, address: bigint, length: number, physical: boolean): Uint8Array {
  if (physical) return machine.memory.readPhysical(Number(address), length);
  const parts: Uint8Array[] = [];
  for (let at = address, left = length; left > 0;) {
    const size = Math.min(left, Number(pageBytes - (at % pageBytes)));
    try {
      parts.push(machine.memory.readVirtual(at, size));
    } catch (error) {
      if (!isUnmapped(error)) throw error;
      break;
    }
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

export function writeMemory(machine: Machine, address: bigint, bytes: Uint8Array, physical: boolean): void {
  if (physical) machine.memory.writePhysical(Number(address), bytes);
  else machine.memory.writeVirtual(address, bytes);
}
