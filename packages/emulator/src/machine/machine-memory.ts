/** A machine's memory as a debugger sees it: by physical and by linear address. */
import { pageBytes } from '../cpu/layout.ts';
import { MachineError } from './errors.ts';
import type { MemoryMap } from './memory-map.ts';

export class MachineMemory {
  readonly #map: MemoryMap;
  readonly #translate: (linearAddress: bigint, cpu?: number) => bigint;

  /** `translate` gives the physical address of a linear one, or -1. */
  constructor(map: MemoryMap, translate: (linearAddress: bigint, cpu?: number) => bigint) {
    this.#map = map;
    this.#translate = translate;
  }

  /** Bytes that no memory backs read as 0xff. */
  readPhysical(address: number, length: number): Uint8Array {
    return this.#map.read(address, length);
  }

  /**
   * Visits every page of the spaces of memory (disks are none), those that are absent yet included. The bytes are the machine's own: they
   * change when it runs.
   */
  eachPage(visit: (space: string, page: number, bytes: Uint8Array) => void): void {
    const map = this.#map;
    map.absent.pageInAll();
    for (const { name, address, bytes } of map.spaces)
      for (let at = 0; at < bytes; at += pageBytes)
        visit(name, at / pageBytes, map.bytes.subarray(address + at, address + at + pageBytes));
  }

  /** Bytes outside of RAM are dropped. Changes the guest outside of its inputs: for loaders and debuggers. */
  writePhysical(address: number, bytes: Uint8Array): void {
    this.#map.write(address, bytes);
  }

  /** The physical address of a linear one, of the processor whose turn it is or another; undefined where no page is mapped. Changes nothing. */
  translate(linearAddress: bigint, cpu?: number): bigint | undefined {
    const physical = this.#translate(BigInt.asIntN(64, linearAddress), cpu);
    return physical < 0n ? undefined : physical;
  }

  /** Throws MachineError (MACHINE_ADDRESS_UNMAPPED) where no page is mapped. */
  readVirtual(linearAddress: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.#eachPage(linearAddress, length, (physical, from, size) => {
      out.set(this.#map.read(physical, size), from);
    });
    return out;
  }

  /** Throws MachineError (MACHINE_ADDRESS_UNMAPPED) where no page is mapped. */
  writeVirtual(linearAddress: bigint, bytes: Uint8Array): void {
    this.#eachPage(linearAddress, bytes.length, (physical, from, size) => {
      this.#map.write(physical, bytes.subarray(from, from + size));
    });
  }

  #eachPage(
    linearAddress: bigint,
    length: number,
    each: (physical: number, from: number, size: number) => void,
  ): void {
    for (let from = 0; from < length;) {
      const address = BigInt.asUintN(64, linearAddress + BigInt(from));
      const size = Math.min(length - from, pageBytes - Number(address % BigInt(pageBytes)));
      const physical = this.#translate(BigInt.asIntN(64, address));
      if (physical < 0n)
        throw new MachineError(
          'MACHINE_ADDRESS_UNMAPPED',
          `no page is mapped at 0x${address.toString(16)}`,
          'the guest has not mapped this address, or not yet',
        );
      each(Number(physical), from, size);
      from += size;
    }
  }
}
