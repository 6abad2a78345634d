/**
 * The memory of a program: regions of a 64-bit address space, with rights. A page gets memory when it is first touched; until then it reads as zeros.
 *
 * Always: a page below 4 GiB lies at the frame of its own number, so that paging structures which a program makes find their tables. Pages
 * above lie at frames that no mapped page has by its number, and give way when one comes.
 */
import { type MemoryMap, PhysicalPage, Region, pageBytes } from '@revenant/emulator/processor';
import { UnicornError, badArgument } from './errors.ts';
import {
  UC_ERR_MAP,
  UC_ERR_NOMEM,
  UC_ERR_READ_UNMAPPED,
  UC_ERR_WRITE_UNMAPPED,
  UC_PROT_ALL,
  UC_PROT_EXEC,
  UC_PROT_READ,
  UC_PROT_WRITE,
} from './generated/unicorn.ts';

/** Answers reads of a region without memory: offset in the region, size 1, 2 or 4; and takes writes. */
export interface DeviceCallbacks {
  read?: ((offset: number, size: number) => number) | undefined;
  write?: ((offset: number, size: number, value: number) => void) | undefined;
}

/** Pages [first, first + count) of the address space. */
interface Area {
  first: number;
  count: number;
  perms: number;
  device?: { callbacks: DeviceCallbacks; base: number };
}

export interface MemoryRegion {
  begin: bigint;
  /** The last byte. */
  end: bigint;
  perms: number;
}

/** What the processor has to be told. */
export interface ProcessorSide {
  /** Bytes of a frame change behind its back. */
  prepareWrite: (physical: number, length: number) => void;
  /** Pages or rights went away. */
  flush: () => void;
}

const frames = 2 ** 20;
const lastPage = 2 ** 52;
const accessRights = [UC_PROT_READ, UC_PROT_WRITE, UC_PROT_EXEC] as const;

export class ProgramMemory {
  readonly #map: MemoryMap;
  readonly #physical: Uint32Array;
  readonly #side: ProcessorSide;
  #areas: Area[] = [];
  /** Frame of each touched page (and of each page of a device that was met). */
  readonly #frameOf = new Map<number, number>();
  /** Of pages above 4 GiB: the page at a frame. */
  readonly #highAt = new Map<number, number>();
  readonly #freeBacking: number[] = [];
  #nextBacking: number;
  #reserved = 0;
  #nextHigh = frames - 1;

  constructor(map: MemoryMap, side: ProcessorSide) {
    this.#map = map;
    this.#side = side;
    this.#physical = new Uint32Array(map.memory.buffer, Region.physicalMap, frames);
    this.#physical.fill(0);
    this.#nextBacking = map.backingBase;
  }

  // --- the address space ---

  map(address: bigint, size: bigint, perms: number, device?: DeviceCallbacks): void {
    const { first, count } = this.#range('mem_map', address, size);
    if (count === 0) throw badArgument('mem_map of no byte');
    if ((perms & ~UC_PROT_ALL) !== 0) throw badArgument(`mem_map with rights ${String(perms)}`);
    if (this.#areas.some((each) => each.first < first + count && first < each.first + each.count))
      throw new UnicornError(UC_ERR_MAP, `mem_map of 0x${address.toString(16)}`);
    if (device === undefined) {
      if (this.#reserved + count > this.#map.backingPages)
        throw new UnicornError(UC_ERR_NOMEM, `mem_map of ${String(size)} bytes`);
      this.#reserved += count;
      const end = Math.min(first + count, frames);
      for (let page = first; page < end; page++) {
        this.#vacate(page);
        this.#physical[page] = PhysicalPage.missing;
      }
    }
    const area = { first, count, perms, ...(device && { device: { callbacks: device, base: first } }) };
    this.#areas = [...this.#areas, area].sort((a, b) => a.first - b.first);
    this.#side.flush();
  }

  protect(address: bigint, size: bigint, perms: number): void {
    const { first, count } = this.#range('mem_protect', address, size);
    if ((perms & ~UC_PROT_ALL) !== 0) throw badArgument(`mem_protect with rights ${String(perms)}`);
    this.#requireMapped('mem_protect', first, count);
    this.#cut(first, count, (area) => [{ ...area, perms }]);
  }

  unmap(address: bigint, size: bigint): void {
    const { first, count } = this.#range('mem_unmap', address, size);
    this.#requireMapped('mem_unmap', first, count);
    this.#cut(first, count, (area) => {
      if (area.device === undefined) this.#reserved -= area.count;
      for (const [page, frame] of this.#touched(area)) this.#release(page, frame);
      if (area.device === undefined)
        this.#physical.fill(0, Math.min(area.first, frames), Math.min(area.first + area.count, frames));
      return [];
    });
  }

  regions(): MemoryRegion[] {
    return this.#areas.map(({ first, count, perms }) => ({
      begin: BigInt(first) * BigInt(pageBytes),
      end: BigInt(first + count) * BigInt(pageBytes) - 1n,
      perms,
    }));
  }

  isMapped(page: number): boolean {
    return this.#areaOf(page) !== undefined;
  }

  #range(what: string, address: bigint, size: bigint): { first: number; count: number } {
    const unit = BigInt(pageBytes);
    if (address % unit !== 0n || size % unit !== 0n)
      throw badArgument(`${what} of 0x${address.toString(16)}, ${String(size)} bytes: not whole pages`);
    const first = Number(address / unit);
    const count = Number(size / unit);
    if (size < 0n || first + count > lastPage) throw badArgument(`${what}: beyond the address space`);
    return { first, count };
  }

  /** The piece with the first byte of a page, by halving. */
  #areaOf(page: number): Area | undefined {
    let low = 0;
    let high = this.#areas.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const area = this.#areas[middle] as Area;
      if (page < area.first) high = middle;
      else if (page >= area.first + area.count) low = middle + 1;
      else return area;
    }
    return undefined;
  }

  #requireMapped(what: string, first: number, count: number): void {
    for (let page = first; page < first + count;) {
      const area = this.#areaOf(page);
      if (area === undefined)
        throw new UnicornError(
          UC_ERR_NOMEM,
          `${what} of 0x${(BigInt(page) * BigInt(pageBytes)).toString(16)}`,
        );
      page = area.first + area.count;
    }
  }

  /** Replaces what lies in a range of pages; areas over its ends are cut in two. */
  #cut(first: number, count: number, replace: (area: Area) => Area[]): void {
    const end = first + count;
    this.#areas = this.#areas.flatMap((area) => {
      const areaEnd = area.first + area.count;
      if (areaEnd <= first || area.first >= end) return [area];
      const from = Math.max(area.first, first);
      const to = Math.min(areaEnd, end);
      return [
        ...(area.first < from ? [{ ...area, count: from - area.first }] : []),
        ...replace({ ...area, first: from, count: to - from }),
        ...(to < areaEnd ? [{ ...area, first: to, count: areaEnd - to }] : []),
      ];
    });
    this.#side.flush();
  }

  // --- pages ---

  /** Frame of a page for an access of the program (0 read, 1 write, 2 execute), or -1: not mapped, or not allowed. */
  translate(page: number, access: number): number {
    const area = this.#areaOf(page);
    if (area === undefined || (area.perms & (accessRights[access] ?? 0)) === 0) return -1;
    return this.#touch(page, area);
  }

  /** A frame is reached by paging structures of the program; what is mapped there comes. */
  pageIn(frame: number): void {
    const area = this.#areaOf(frame);
    if (area !== undefined) this.#touch(frame, area);
  }

  /** The device behind a frame without memory, and the offset of a byte of it in its region. */
  deviceAt(frame: number, offset: number): { callbacks: DeviceCallbacks; offset: number } | undefined {
    const page = this.#highAt.get(frame) ?? frame;
    const device = this.#areaOf(page)?.device;
    return device && { callbacks: device.callbacks, offset: (page - device.base) * pageBytes + offset };
  }

  #touch(page: number, area: Area): number {
    const known = this.#frameOf.get(page);
    if (known !== undefined) return known;
    const frame = page < frames ? page : this.#highFrame(page);
    this.#frameOf.set(page, frame);
    if (area.device !== undefined) {
      if (page < frames) this.#vacate(page);
      this.#physical[frame] = 0;
      return frame;
    }
    const backing = this.#freeBacking.pop() ?? this.#nextBacking;
    if (backing === this.#nextBacking) this.#nextBacking += pageBytes;
    this.#physical[frame] = (backing | PhysicalPage.present) >>> 0;
    return frame;
  }

  #highFrame(page: number): number {
    while (this.#highAt.has(this.#nextHigh) || this.isMapped(this.#nextHigh))
      this.#nextHigh = this.#nextHigh === 0 ? frames - 1 : this.#nextHigh - 1;
    this.#highAt.set(this.#nextHigh, page);
    return this.#nextHigh;
  }

  /** A page above 4 GiB at the frame of a page that is mapped now goes elsewhere, with its memory. */
  #vacate(frame: number): void {
    const page = this.#highAt.get(frame);
    if (page === undefined) return;
    this.#highAt.delete(frame);
    const entry = this.#physical[frame] as number;
    this.#nextHigh = frame === 0 ? frames - 1 : frame - 1;
    const other = this.#highFrame(page);
    this.#frameOf.set(page, other);
    this.#physical[other] = entry;
  }

  #touched(area: Area): [page: number, frame: number][] {
    if (area.count > this.#frameOf.size)
      return [...this.#frameOf].filter(([page]) => page >= area.first && page < area.first + area.count);
    const found: [number, number][] = [];
    for (let page = area.first; page < area.first + area.count; page++) {
      const frame = this.#frameOf.get(page);
      if (frame !== undefined) found.push([page, frame]);
    }
    return found;
  }

  #release(page: number, frame: number): void {
    const entry = this.#physical[frame] as number;
    if ((entry & PhysicalPage.present) !== 0) {
      const backing = (entry & PhysicalPage.addressMask) >>> 0;
      this.#side.prepareWrite(frame * pageBytes, pageBytes);
      this.#map.bytes.fill(0, backing, backing + pageBytes);
      this.#freeBacking.push(backing);
    }
    this.#physical[frame] = 0;
    this.#frameOf.delete(page);
    if (this.#highAt.get(frame) === page) this.#highAt.delete(frame);
  }

  // --- bytes, whatever the rights ---

  read(address: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.#chunks(address, length, UC_ERR_READ_UNMAPPED, ({ page, offset, from, size, area }) => {
      const frame = this.#frameOf.get(page);
      if (area.device !== undefined) out.set(deviceBytes(area, page, offset, size), from);
      else if (frame !== undefined) {
        const at = ((this.#physical[frame] as number) & PhysicalPage.addressMask) >>> 0;
        out.set(this.#map.bytes.subarray(at + offset, at + offset + size), from);
      }
    });
    return out;
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.#chunks(address, bytes.length, UC_ERR_WRITE_UNMAPPED, () => undefined);
    this.#chunks(address, bytes.length, UC_ERR_WRITE_UNMAPPED, ({ page, offset, from, size, area }) => {
      if (area.device !== undefined) {
        const start = (page - area.device.base) * pageBytes + offset;
        for (let i = 0; i < size; i++) area.device.callbacks.write?.(start + i, 1, bytes[from + i] as number);
        return;
      }
      const frame = this.#touch(page, area);
      const at = ((this.#physical[frame] as number) & PhysicalPage.addressMask) >>> 0;
      this.#side.prepareWrite(frame * pageBytes + offset, size);
      this.#map.bytes.set(bytes.subarray(from, from + size), at + offset);
    });
  }

  #chunks(
    address: bigint,
    length: number,
    errno: number,
    each: (chunk: { page: number; offset: number; from: number; size: number; area: Area }) => void,
  ): void {
    let page = Number(address / BigInt(pageBytes));
    let offset = Number(address % BigInt(pageBytes));
    for (let from = 0; from < length; page++, offset = 0) {
      const area = this.#areaOf(page);
      if (area === undefined) throw new UnicornError(errno, `0x${(address + BigInt(from)).toString(16)}`);
      const size = Math.min(length - from, pageBytes - offset);
      each({ page, offset, from, size, area });
      from += size;
    }
  }
}

function deviceBytes({ device }: Area, page: number, offset: number, size: number): Uint8Array {
  const start = (page - (device?.base ?? 0)) * pageBytes + offset;
  return Uint8Array.from({ length: size }, (_, i) => device?.callbacks.read?.(start + i, 1) ?? 0);
}
