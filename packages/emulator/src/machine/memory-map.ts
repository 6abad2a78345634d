/**
 * Where the machine's memory lies in the linear memory (cpu/layout.ts), and what each guest-physical page is backed by.
 *
 * Backing pages: RAM first, then ROM, then video RAM. RAM starts at physical address 0 and ends below the PCI hole at 3 GiB. Video RAM
 * appears where the adapter has its linear windows; the areas from 0xc0000 to 0xfffff are RAM or ROM as the PAM registers of the host bridge say.
 */
import { Machine, PhysicalPage, Region, Tlb, maxCpus, pageBytes } from '../cpu/layout.ts';
import { AbsentRam } from './absent-pages.ts';
import { MachineError } from './errors.ts';
import { vgaTextBase, vgaTextBytes } from '../devices/video/vga-text.ts';
import type { GuestMemory } from '../devices/device.ts';
import type { VideoWindow } from '../devices/video/vga.ts';

const blockHashEntries = 1 << 17;
const recordPoolBytes = 64 * 2 ** 20;
const wasmPageBytes = 0x1_0000;
export const maxRamBytes = 3 * 2 ** 30;
const legacyRomBytes = 0x2_0000;
const shadowStart = 0xc_0000;
const oneMiB = 0x10_0000;
/** Nothing is mapped from here on. */
const addressLimit = 2 ** 32;

export interface MemorySizes {
  ramBytes: number;
  /** 0, or a whole number of pages up to 16 MiB; mapped so that it ends at 4 GiB. */
  romBytes: number;
  /** Bytes of video memory, whole pages; 0 leaves it out. */
  vramBytes: number;
  /** 1 (default) to `maxCpus`. */
  cpuCount?: number;
}

/** One kind of backing memory, a space of the checkpoint. */
export interface BackingSpace {
  name: 'ram' | 'rom' | 'vram';
  /** Address in linear memory. */
  address: number;
  bytes: number;
}

function sameWindows(some: readonly VideoWindow[], others: readonly VideoWindow[]): boolean {
  return (
    some.length === others.length &&
    some.every((one, n) => {
      const other = others[n];
      return one.physical === other?.physical && one.length === other.length && one.memory === other.memory;
    })
  );
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** Throws MachineError `MACHINE_NO_MEMORY`. */
function newMemory(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const mib = Math.ceil((pages * wasmPageBytes) / oneMiB);
    throw new MachineError(
      'MACHINE_NO_MEMORY',
      `the host does not give the ${String(mib)} MiB of memory that the machine takes`,
      'give it less memory, or run it on a host with more',
    );
  }
}

/** A machine's guest-physical memory: RAM, ROM, video RAM and holes. */
export class MemoryMap implements GuestMemory {
  readonly absent: AbsentRam;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly spaces: readonly BackingSpace[];
  readonly dirtyBitmapAddress: number;
  readonly backingBase: number;
  readonly backingPages: number;
  readonly cpuCount: number;
  readonly #map: Uint32Array;
  readonly #sizes: MemorySizes;
  /** Called before this class writes RAM for somebody else than the processor. */
  prepareWrite: (physical: number, length: number) => void = () => undefined;
  /** Reads of areas whose PAM says "read ROM, write RAM". */
  #splitAreas = new Set<number>();
  #videoWindows: readonly VideoWindow[] = [];

  constructor(sizes: MemorySizes) {
    this.#sizes = sizes;
    const { vramBytes } = sizes;
    const pages = (sizes.ramBytes + sizes.romBytes + vramBytes) / pageBytes;
    if (Region.tlbs + maxCpus * Tlb.bytesPerCpu > Region.physicalMap)
      throw new RangeError('TLBs overlap the physical map');
    let next: number = Region.dynamic;
    const take = (size: number): number => {
      const at = next;
      next = roundUp(next + size, pageBytes);
      return at;
    };
    this.dirtyBitmapAddress = take(roundUp(pages, 64) / 8);
    const codeMap = take(pages * 8);
    const blockHeads = take(pages * 4);
    const blockHash = take(blockHashEntries * 4);
    const recordPool = take(recordPoolBytes);
    this.backingBase = take(pages * pageBytes);
    this.backingPages = pages;
    this.cpuCount = sizes.cpuCount ?? 1;
    const wasmPages = roundUp(next, wasmPageBytes) / wasmPageBytes;
    this.memory = newMemory(wasmPages);
    this.bytes = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    this.#map = new Uint32Array(this.memory.buffer, Region.physicalMap, 1 << 20);
    this.spaces = this.#layOutSpaces(vramBytes);
    this.#writeMachineBlock({ codeMap, blockHeads, blockHash, recordPool });
    this.#mapAll();
    this.absent = new AbsentRam({
      map: this.#map,
      bytes: this.bytes,
      ramBase: this.backingBase,
      ramBytes: sizes.ramBytes,
    });
  }

  /** Pages of RAM that the processor came by since the last call, ascending. */
  takeAccessed(): Uint32Array {
    const marks = this.bytes.subarray(Region.accessed, Region.accessed + this.#sizes.ramBytes / pageBytes);
    const pages: number[] = [];
    for (let page = marks.indexOf(1); page >= 0; page = marks.indexOf(1, page + 1)) pages.push(page);
    marks.fill(0);
    return Uint32Array.from(pages);
  }

  #layOutSpaces(vramBytes: number): BackingSpace[] {
    const { ramBytes, romBytes } = this.#sizes;
    const rom = this.backingBase + ramBytes;
    const all: BackingSpace[] = [
      { name: 'ram', address: this.backingBase, bytes: ramBytes },
      { name: 'rom', address: rom, bytes: romBytes },
      { name: 'vram', address: rom + romBytes, bytes: vramBytes },
    ];
    return all.filter((space) => space.bytes > 0);
  }

  #writeMachineBlock(at: {
    codeMap: number;
    blockHeads: number;
    blockHash: number;
    recordPool: number;
  }): void {
    const set = (offset: number, value: number): void => {
      this.view.setUint32(Region.machine + offset, value, true);
    };
    set(Machine.backingBase, this.backingBase);
    set(Machine.backingPages, this.backingPages);
    set(Machine.ramBytes, this.#sizes.ramBytes);
    set(Machine.cpuCount, this.cpuCount);
    set(Machine.currentCpu, Region.cpuBlocks);
    set(Machine.dirtyBitmap, this.dirtyBitmapAddress);
    set(Machine.codeMap, at.codeMap);
    set(Machine.blockHeads, at.blockHeads);
    set(Machine.blockHash, at.blockHash);
    set(Machine.blockHashMask, blockHashEntries - 1);
    set(Machine.recordPool, at.recordPool);
    set(Machine.recordPoolEnd, at.recordPool + recordPoolBytes);
    set(Machine.recordPoolNext, at.recordPool);
    set(Machine.a20Mask, 0xffff_ffff);
  }

  space(name: BackingSpace['name']): BackingSpace | undefined {
    return this.spaces.find((space) => space.name === name);
  }

  /** The bytes of a space, in place. */
  spaceBytes(name: BackingSpace['name']): Uint8Array {
    const space = this.space(name);
    return space === undefined
      ? new Uint8Array(0)
      : this.bytes.subarray(space.address, space.address + space.bytes);
  }

  #mapRange(physical: number, length: number, backing: number, flags: number): void {
    for (let offset = 0; offset < length; offset += pageBytes)
      this.#map[(physical + offset) / pageBytes] = ((backing + offset) | PhysicalPage.present | flags) >>> 0;
  }

  #unmapRange(physical: number, length: number): void {
    this.#map.fill(0, physical / pageBytes, (physical + length) / pageBytes);
  }

  #mapAll(): void {
    const { ramBytes } = this.#sizes;
    this.#mapRange(0, ramBytes, this.backingBase, 0);
    this.#unmapRange(0xa_0000, shadowStart - 0xa_0000);
    const vram = this.space('vram');
    // The adapter of the first boards has text memory only, which never moves.
    if (vram?.bytes === vgaTextBytes) this.#mapRange(vgaTextBase, vgaTextBytes, vram.address, 0);
    const rom = this.space('rom');
    if (rom !== undefined)
      this.#mapRange(addressLimit - rom.bytes, rom.bytes, rom.address, PhysicalPage.readOnly);
  }

  /**
   * Where video memory can be reached as plain memory: the adapter's linear windows. Windows lie outside of RAM and ROM. Returns true when the
   * map changed: TLBs must be flushed.
   */
  mapVideo(windows: readonly VideoWindow[]): boolean {
    const vram = this.space('vram');
    if (vram === undefined || sameWindows(windows, this.#videoWindows)) return false;
    for (const { physical, length } of this.#videoWindows) this.#unmapRange(physical, length);
    this.#videoWindows = windows.filter(
      ({ physical, length }) =>
        physical >= vgaTextBase - 0x1_8000 && (physical + length <= shadowStart || physical >= maxRamBytes),
    );
    for (const { physical, length, memory } of this.#videoWindows)
      this.#mapRange(physical, Math.min(length, vram.bytes - memory), vram.address + memory, 0);
    const rom = this.space('rom');
    if (rom !== undefined)
      this.#mapRange(addressLimit - rom.bytes, rom.bytes, rom.address, PhysicalPage.readOnly);
    return true;
  }

  /** The adapter itself changed its memory: the pages are dirty, and code that was decoded from them is gone. */
  videoChanged(offset: number, length: number): void {
    const vram = this.space('vram');
    if (vram === undefined) return;
    for (let at = offset - (offset % pageBytes); at < offset + length; at += pageBytes)
      this.#markDirty(vram.address + at);
    for (const { physical, length: size, memory } of this.#videoWindows) {
      const from = Math.max(offset, memory);
      const to = Math.min(offset + length, memory + size);
      if (from < to) this.prepareWrite(physical + from - memory, to - from);
    }
  }

  /** Backing of the ROM at a shadow area's address: the last 128 KiB of the image appear below 1 MiB. */
  #romBacking(physical: number): number {
    const rom = this.space('rom');
    const fromEnd = oneMiB - physical;
    if (rom === undefined || fromEnd > Math.min(rom.bytes, legacyRomBytes)) return 0;
    return rom.address + rom.bytes - fromEnd;
  }

  /**
   * The seven PAM bytes (82441FX 3.2.11): bit 0 of a field reads RAM, bit 1 writes RAM; otherwise ROM. Without a ROM the whole
   * area is RAM, as firmware would leave it. Returns true when the map changed: TLBs must be flushed.
   */
  setShadow(pam: Uint8Array): boolean {
    const before = this.#map.slice(shadowStart / pageBytes, oneMiB / pageBytes);
    this.#splitAreas = new Set();
    if (this.space('rom') === undefined)
      this.#mapRange(shadowStart, oneMiB - shadowStart, this.backingBase + shadowStart, 0);
    else {
      this.#mapArea(0xf_0000, 0x1_0000, (pam[0] ?? 0) >> 4);
      for (let n = 0; n < 12; n++) {
        const field = (pam[1 + (n >> 1)] ?? 0) >> (n & 1 ? 4 : 0);
        this.#mapArea(shadowStart + n * 0x4000, 0x4000, field);
      }
    }
    return before.some((entry, n) => entry !== this.#map[shadowStart / pageBytes + n]);
  }

  #mapArea(physical: number, length: number, field: number): void {
    const ram = this.backingBase + physical;
    for (let at = physical; at < physical + length; at += pageBytes) {
      const rom = this.#romBacking(at);
      if ((field & 3) === 3) this.#mapRange(at, pageBytes, ram + at - physical, 0);
      else if (field & 1) this.#mapRange(at, pageBytes, ram + at - physical, PhysicalPage.readOnly);
      else if (field & 2) {
        this.#unmapRange(at, pageBytes);
        this.#splitAreas.add(at);
      } else if (rom !== 0) this.#mapRange(at, pageBytes, rom, PhysicalPage.readOnly);
      else this.#unmapRange(at, pageBytes);
    }
  }

  /** Address in linear memory of a physical byte when reads (or writes) of it reach memory; else 0. */
  #backing(physical: number, write: boolean): number {
    const entry = this.#map[Math.floor(physical / pageBytes)] ?? 0;
    const offset = physical & (pageBytes - 1);
    if (entry & PhysicalPage.missing) this.absent.pageIn(Math.floor(physical / pageBytes));
    if (entry & PhysicalPage.present)
      return write && entry & PhysicalPage.readOnly ? 0 : ((entry & PhysicalPage.addressMask) >>> 0) + offset;
    const page = physical - offset;
    if (!this.#splitAreas.has(page)) return 0;
    if (write) return this.backingBase + physical;
    const rom = this.#romBacking(page);
    return rom === 0 ? 0 : rom + offset;
  }

  /** An access the core could not make itself: a split area, or undefined when no memory is there. */
  readSplit(physical: number, size: number): number | undefined {
    const at = this.#backing(physical, false);
    if (at === 0 || (physical & (pageBytes - 1)) + size > pageBytes) return undefined;
    return size === 4
      ? this.view.getUint32(at, true)
      : size === 2
        ? this.view.getUint16(at, true)
        : this.view.getUint8(at);
  }

  /** True when memory took (or dropped) the write. */
  writeSplit(physical: number, size: number, value: number): boolean {
    if (!this.#splitAreas.has(physical - (physical & (pageBytes - 1)))) return false;
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, value, true);
    this.write(physical, data.subarray(0, size));
    return true;
  }

  read(physical: number, length: number): Uint8Array {
    // Most of what devices read is small and lies in one page.
    if ((physical & (pageBytes - 1)) + length <= pageBytes && physical < addressLimit) {
      const at = this.#backing(physical, false);
      if (at !== 0) return this.bytes.slice(at, at + length);
    }
    const out = new Uint8Array(length);
    this.readInto(physical, out);
    return out;
  }

  readInto(physical: number, target: Uint8Array): void {
    for (let from = 0; from < target.length;) {
      const address = physical + from;
      const size = Math.min(target.length - from, pageBytes - (address & (pageBytes - 1)));
      const at = address < addressLimit ? this.#backing(address, false) : 0;
      if (at !== 0) target.set(this.bytes.subarray(at, at + size), from);
      else target.fill(0xff, from, from + size);
      from += size;
    }
  }

  write(physical: number, data: Uint8Array): void {
    for (let from = 0; from < data.length;) {
      const address = physical + from;
      const size = Math.min(data.length - from, pageBytes - (address & (pageBytes - 1)));
      const at = address < addressLimit ? this.#backing(address, true) : 0;
      if (at !== 0) {
        this.prepareWrite(address, size);
        this.bytes.set(data.subarray(from, from + size), at);
        this.#markDirty(at);
      }
      from += size;
    }
  }

  /** ROM content is written by the machine itself. */
  writeRom(image: Uint8Array): void {
    const rom = this.space('rom');
    if (rom === undefined) return;
    this.bytes.set(image, rom.address + rom.bytes - image.length);
    for (let at = rom.address; at < rom.address + rom.bytes; at += pageBytes) this.#markDirty(at);
  }

  /** The next snapshot lists these pages of a space, whether or not they change before. */
  markPages(space: BackingSpace, pages: Iterable<number>): void {
    for (const page of pages)
      if (page * pageBytes < space.bytes) this.#markDirty(space.address + page * pageBytes);
  }

  #markDirty(address: number): void {
    const page = Math.floor((address - this.backingBase) / pageBytes);
    const at = this.dirtyBitmapAddress + (page >> 3);
    this.bytes[at] = (this.bytes[at] ?? 0) | (1 << (page & 7));
  }
}
