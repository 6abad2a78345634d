/**
 * Guest-physical memory: which pages are backed, the dirty bits of the checkpoint interval, code in pages. Every write of the
 * core to backed memory goes through `storeBacked` or comes after `markDirty`.
 */
import {
  Machine_a20Mask,
  Machine_backingBase,
  Machine_codeMap,
  Machine_dirtyBitmap,
  PhysicalPage_addressMask,
  PhysicalPage_missing,
  PhysicalPage_readOnly,
  Region_accessed,
  Region_machine,
  Region_physicalMap,
} from '../generated/layout';
import { invalidateCode } from '../decode/blocks';
import { pageIn } from '../host';

/** Physical address after the A20 gate. */
export function gateA20(physical: i64): i64 {
  return physical & (0xffff_ffff_0000_0000 | (load<u32>(Region_machine, Machine_a20Mask) as i64));
}

/** Region.physicalMap's entry of a gated physical address: 0 where nothing is backed by memory. The page's contents are there. */
export function pageEntry(physical: i64): u32 {
  if ((physical as u64) >> 32 != 0) return 0;
  const page = (physical as u32) >> 12;
  store<u8>(Region_accessed + page, 1);
  const entry = load<u32>(Region_physicalMap + (page << 2));
  if ((entry & PhysicalPage_missing) == 0) return entry;
  pageIn(page);
  return load<u32>(Region_physicalMap + (page << 2));
}

export function backingIndex(page: u32): u32 {
  return (page - load<u32>(Region_machine, Machine_backingBase)) >> 12;
}

/** Address of the u64 of the code map for a backing page. */
export function codeMapAt(index: u32): u32 {
  return load<u32>(Region_machine, Machine_codeMap) + (index << 3);
}

export function markDirty(index: u32): void {
  const at = load<u32>(Region_machine, Machine_dirtyBitmap) + (index >> 3);
  store<u8>(at, <u8>((<u32>load<u8>(at)) | (1 << (index & 7))));
}

export function isDirty(index: u32): bool {
  const marks = <u32>load<u8>(load<u32>(Region_machine, Machine_dirtyBitmap) + (index >> 3));
  return ((marks >> (index & 7)) & 1) != 0;
}

/** Drops decoded code that bytes [offset, offset + size) of a backing page overlap (64-byte granules). */
export function dropOverlappedCode(index: u32, offset: u32, size: u32): void {
  const map = load<u64>(codeMapAt(index));
  if (map == 0) return;
  const first = offset >> 6;
  const last = (offset + size - 1) >> 6;
  const through = last == 63 ? <u64>-1 : ((<u64>1) << (last + 1)) - 1;
  if ((map & through) >> first != 0) invalidateCode(index, offset, size);
}

/** Stores into a backed, writable page at `page` (linear memory), inside of the page. */
export function storeBacked<T>(page: u32, offset: u32, value: T): void {
  const index = backingIndex(page);
  markDirty(index);
  dropOverlappedCode(index, offset, sizeof<T>());
  store<T>(page + offset, value);
}

/** Reads a naturally aligned item for the paging unit; all ones where there is no memory. */
export function readPhysical<T>(address: i64): T {
  const physical = gateA20(address);
  const entry = pageEntry(physical);
  if (entry == 0) return <T>-1;
  return load<T>((entry & PhysicalPage_addressMask) + ((physical as u32) & 0xfff));
}

/** Writes a naturally aligned item for the paging unit; dropped where there is no writable memory. */
export function writePhysical<T>(address: i64, value: T): void {
  const physical = gateA20(address);
  const entry = pageEntry(physical);
  if (entry == 0 || (entry & PhysicalPage_readOnly) != 0) return;
  storeBacked<T>(entry & PhysicalPage_addressMask, (physical as u32) & 0xfff, value);
}
