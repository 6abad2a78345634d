/**
 * Numbers, pointers and text in a guest kernel's memory. Everything read here was written by a guest, so nothing of it is trusted:
 * what can't be read throws `KernelDataError`, which a command turns into one line.
 */

import { utf8Text } from '../bytes.ts';

/** Bytes from an address on; fewer where memory ends. */
export interface ByteSource {
  read(address: bigint, length: number): Promise<Uint8Array>;
}

/** The kernel's data are not there, or not as they should be. */
export class KernelDataError extends Error {
  readonly code = 'KERNEL_DATA';

  constructor(message: string) {
    super(message);
    this.name = 'KernelDataError';
  }
}

export type PointerBytes = 4 | 8;

const hexOf = (address: bigint): string => `0x${BigInt.asUintN(64, address).toString(16)}`;

export class KernelMemory {
  readonly #source: ByteSource;
  /** Bytes of a pointer and of a C `long`: 8 on amd64, 4 on i386. */
  readonly pointerBytes: PointerBytes;

  constructor(source: ByteSource, pointerBytes: PointerBytes) {
    this.#source = source;
    this.pointerBytes = pointerBytes;
  }

  /** Exactly so many bytes. */
  async view(address: bigint, length: number): Promise<DataView> {
    const bytes = await this.#source.read(address, length);
    if (bytes.length < length)
      throw new KernelDataError(`no memory at ${hexOf(address + BigInt(bytes.length))}`);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  async u32(address: bigint): Promise<number> {
    return (await this.view(address, 4)).getUint32(0, true);
  }

  async pointer(address: bigint): Promise<bigint> {
    return this.wordOf(await this.view(address, this.pointerBytes), 0);
  }

  /** The pointer or `long` at a place of bytes that were read. */
  wordOf(view: DataView, at: number): bigint {
    return this.pointerBytes === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
  }

  /** Text up to its NUL, or `most` bytes. */
  async text(address: bigint, most: number): Promise<string> {
    return cText(await this.#source.read(address, most));
  }

  /** Whether an address is in the kernel's part: the upper half on amd64; on i386 above 1 GiB, where no kernel split lies lower. */
  isKernel(address: bigint): boolean {
    return this.pointerBytes === 8 ? address >> 47n === 0x1_ffffn : address >= 0x4000_0000n;
  }
}

/** Text up to its NUL. */
export function cText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return utf8Text(end < 0 ? bytes : bytes.subarray(0, end));
}
