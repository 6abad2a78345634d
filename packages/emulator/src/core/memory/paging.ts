/**
 * Translation of linear addresses: SDM Vol. 3A chapter 4. A walk reads the guest's paging structures from physical memory,
 * sets accessed and dirty bits, and raises #PF with the exact error code. Accessed bits of upper levels are set as the
 * walk passes them; those of the last level together with the dirty bit, after the rights were checked.
 */
import {
  CpuFeature_page1g,
  CpuFeature_pse36,
  Cpu_cr0,
  Cpu_cr3,
  Cpu_cr4,
  Cpu_efer,
  Cpu_features,
  Cpu_pdpte,
  Cpu_physicalMask,
  Tlb_smapRead,
  Tlb_userRead,
} from '../generated/layout';
import { raisePageFault } from '../events/fault';
import { readPhysical, writePhysical } from './physical';
import { Cr0_pg, Cr0_wp, Cr4_pae, Cr4_pge, Cr4_pse, Cr4_smap, Cr4_smep, Efer_lma, Efer_nxe } from '../state';

export const Access_read: i32 = 0;
export const Access_write: i32 = 1;
export const Access_execute: i32 = 2;

/** Bits below the page address in the result of `walk`. */
export const Walk_global: i64 = 1;
export const Walk_large: i64 = 2;
/** The write was allowed only because CR0.WP is 0. */
export const Walk_readOnly: i64 = 4;
/** Only from `walkQuietly`: there is no translation. */
export const Walk_none: i64 = -1;

const present: i64 = 1;
const writable: i64 = 2;
const user: i64 = 4;
const accessed: i64 = 0x20;
const dirty: i64 = 0x40;
const pageSize: i64 = 0x80;
const global: i64 = 0x100;
const noExecute: i64 = i64.MIN_VALUE;
/** Bits 51..12 of a 64-bit entry; those above MAXPHYADDR are reserved. */
const frame64: i64 = 0x000f_ffff_ffff_f000;

const faultPresent: i32 = 1;
const faultReserved: i32 = 9;

/** `quiet` walks (debugger, host) change nothing and answer Walk_none instead of raising. */
function fail(cpu: i32, la: i64, access: i32, view: i32, code: i32, quiet: bool): i64 {
  if (quiet) return Walk_none;
  let errorCode = code;
  if (access == Access_write) errorCode |= 2;
  if (view == Tlb_userRead) errorCode |= 4;
  if (access == Access_execute) {
    const cr4 = load<i64>(cpu, Cpu_cr4);
    const nxe = (load<i64>(cpu, Cpu_efer) & Efer_nxe) != 0 && (cr4 & Cr4_pae) != 0;
    if (nxe || (cr4 & Cr4_smep) != 0) errorCode |= 16;
  }
  raisePageFault(cpu, la, errorCode);
  return Walk_none;
}

/** SDM Vol. 3A 4.6.1: `rights` is the AND of all entries' R/W and U/S bits, `nx` whether any forbids execution. */
function allowed(cpu: i32, access: i32, view: i32, rights: i64, nx: bool): bool {
  const userPage = (rights & user) != 0;
  if (view == Tlb_userRead) {
    if (!userPage) return false;
    if (access == Access_execute) return !nx;
    return access == Access_read || (rights & writable) != 0;
  }
  const cr4 = load<i64>(cpu, Cpu_cr4);
  if (access == Access_execute) return !nx && !(userPage && (cr4 & Cr4_smep) != 0);
  if (userPage && (cr4 & Cr4_smap) != 0 && view != Tlb_smapRead) return false;
  return access == Access_read || (rights & writable) != 0 || (load<i64>(cpu, Cpu_cr0) & Cr0_wp) == 0;
}

/** Checks the rights, sets A and D of the last entry, and gives page address and flags. */
function finish<T>(
  cpu: i32,
  la: i64,
  access: i32,
  view: i32,
  entryAddress: i64,
  entry: T,
  rights: i64,
  nx: bool,
  page: i64,
  large: bool,
  quiet: bool,
): i64 {
  if (!quiet) {
    if (!allowed(cpu, access, view, rights, nx)) return fail(cpu, la, access, view, faultPresent, false);
    const updated = (entry as i64) | accessed | (access == Access_write ? dirty : 0);
    if (updated != (entry as i64)) writePhysical<T>(entryAddress, updated as T);
  }
  let flags: i64 = large ? Walk_large : 0;
  if (((entry as i64) & global) != 0 && (load<i64>(cpu, Cpu_cr4) & Cr4_pge) != 0) flags |= Walk_global;
  if (access == Access_write && (rights & writable) == 0) flags |= Walk_readOnly;
  return page | flags;
}

/** SDM Vol. 3A 4.3: 32-bit paging, with 4 MiB pages and PSE-36. */
function walk32(cpu: i32, la: i64, access: i32, view: i32, quiet: bool): i64 {
  const directoryAddress = (load<i64>(cpu, Cpu_cr3) & 0xffff_f000) | ((la >> 20) & 0xffc);
  const directory = readPhysical<u32>(directoryAddress);
  const pde = directory as i64;
  if ((pde & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  if ((pde & pageSize) != 0 && (load<i64>(cpu, Cpu_cr4) & Cr4_pse) != 0) {
    // Bits 20:13 hold address bits 39:32 with PSE-36; what is above MAXPHYADDR, and bit 21, is reserved.
    let high: i64 = 0;
    if ((load<i64>(cpu, Cpu_features) & CpuFeature_pse36) != 0) high = ((pde >> 13) & 0xff) << 32;
    else if ((pde & 0x3f_e000) != 0) return fail(cpu, la, access, view, faultReserved, quiet);
    if ((pde & 0x20_0000) != 0 || (high & ~load<i64>(cpu, Cpu_physicalMask)) != 0) {
      return fail(cpu, la, access, view, faultReserved, quiet);
    }
    const page = high | (pde & 0xffc0_0000) | (la & 0x3f_f000);
    return finish<u32>(cpu, la, access, view, directoryAddress, directory, pde, false, page, true, quiet);
  }
  if (!quiet && (pde & accessed) == 0) writePhysical<u32>(directoryAddress, (pde | accessed) as u32);
  const tableAddress = (pde & 0xffff_f000) | ((la >> 10) & 0xffc);
  const table = readPhysical<u32>(tableAddress);
  const pte = table as i64;
  if ((pte & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  return finish<u32>(
    cpu,
    la,
    access,
    view,
    tableAddress,
    table,
    pde & pte,
    false,
    pte & 0xffff_f000,
    false,
    quiet,
  );
}

/** Bits that must be 0 in every 64-bit entry: address bits that do not exist, and XD without EFER.NXE. */
function reservedBits(cpu: i32, pae: bool): i64 {
  const physical = load<i64>(cpu, Cpu_physicalMask);
  let bits = frame64 & ~physical;
  if (pae) bits |= 0x7ff0_0000_0000_0000;
  if ((load<i64>(cpu, Cpu_efer) & Efer_nxe) == 0) bits |= noExecute;
  return bits;
}

/** The last two levels of PAE and 4-level paging. `rights` and `nx` come from the levels above. */
function walkDirectory(
  cpu: i32,
  la: i64,
  access: i32,
  view: i32,
  directory: i64,
  rights: i64,
  nx: bool,
  reserved: i64,
  quiet: bool,
): i64 {
  const pdeAddress = directory | ((la >> 18) & 0xff8);
  const pde = readPhysical<i64>(pdeAddress);
  if ((pde & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  if ((pde & reserved) != 0) return fail(cpu, la, access, view, faultReserved, quiet);
  const pdeRights = rights & pde;
  const pdeNx = nx || pde < 0;
  if ((pde & pageSize) != 0) {
    if ((pde & 0x1f_e000) != 0) return fail(cpu, la, access, view, faultReserved, quiet);
    const page = (pde & frame64 & ~0x1f_ffff) | (la & 0x1f_f000);
    return finish<i64>(cpu, la, access, view, pdeAddress, pde, pdeRights, pdeNx, page, true, quiet);
  }
  if (!quiet && (pde & accessed) == 0) writePhysical<i64>(pdeAddress, pde | accessed);
  const pteAddress = (pde & frame64) | ((la >> 9) & 0xff8);
  const pte = readPhysical<i64>(pteAddress);
  if ((pte & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  if ((pte & reserved) != 0) return fail(cpu, la, access, view, faultReserved, quiet);
  return finish<i64>(
    cpu,
    la,
    access,
    view,
    pteAddress,
    pte,
    pdeRights & pte,
    pdeNx || pte < 0,
    pte & frame64,
    false,
    quiet,
  );
}

/** SDM Vol. 3A 4.4: PAE paging. The PDPTEs were checked when they were loaded. */
function walkPae(cpu: i32, la: i64, access: i32, view: i32, quiet: bool): i64 {
  const pdpte = load<i64>(cpu + ((((la >> 30) & 3) as i32) << 3), Cpu_pdpte);
  if ((pdpte & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  return walkDirectory(
    cpu,
    la,
    access,
    view,
    pdpte & frame64,
    writable | user,
    false,
    reservedBits(cpu, true),
    quiet,
  );
}

/** SDM Vol. 3A 4.5: 4-level paging. */
function walk64(cpu: i32, la: i64, access: i32, view: i32, quiet: bool): i64 {
  const reserved = reservedBits(cpu, false);
  const pml4eAddress = (load<i64>(cpu, Cpu_cr3) & frame64) | ((la >> 36) & 0xff8);
  const pml4e = readPhysical<i64>(pml4eAddress);
  if ((pml4e & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  if ((pml4e & (reserved | pageSize)) != 0) return fail(cpu, la, access, view, faultReserved, quiet);
  if (!quiet && (pml4e & accessed) == 0) writePhysical<i64>(pml4eAddress, pml4e | accessed);
  const pdpteAddress = (pml4e & frame64) | ((la >> 27) & 0xff8);
  const pdpte = readPhysical<i64>(pdpteAddress);
  if ((pdpte & present) == 0) return fail(cpu, la, access, view, 0, quiet);
  if ((pdpte & reserved) != 0) return fail(cpu, la, access, view, faultReserved, quiet);
  const rights = pml4e & pdpte;
  const nx = pml4e < 0 || pdpte < 0;
  if ((pdpte & pageSize) != 0) {
    if ((load<i64>(cpu, Cpu_features) & CpuFeature_page1g) == 0 || (pdpte & 0x3fff_e000) != 0) {
      return fail(cpu, la, access, view, faultReserved, quiet);
    }
    const page = (pdpte & frame64 & ~0x3fff_ffff) | (la & 0x3fff_f000);
    return finish<i64>(cpu, la, access, view, pdpteAddress, pdpte, rights, nx, page, true, quiet);
  }
  if (!quiet && (pdpte & accessed) == 0) writePhysical<i64>(pdpteAddress, pdpte | accessed);
  return walkDirectory(cpu, la, access, view, pdpte & frame64, rights, nx, reserved, quiet);
}

function walkAny(cpu: i32, la: i64, access: i32, view: i32, quiet: bool): i64 {
  const long = (load<i64>(cpu, Cpu_efer) & Efer_lma) != 0;
  // Long mode without paging exists only for a program that a host runs alone: its linear addresses are the host's.
  if ((load<i64>(cpu, Cpu_cr0) & Cr0_pg) == 0) return la & (long ? ~0xfff : 0xffff_f000);
  if (long) return walk64(cpu, la, access, view, quiet);
  if ((load<i64>(cpu, Cpu_cr4) & Cr4_pae) != 0) return walkPae(cpu, la, access, view, quiet);
  return walk32(cpu, la, access, view, quiet);
}

/**
 * Physical address of the page of linear address `la` (bits 0-11: Walk flags). `view` is the TLB of the privilege (Tlb.supervisorRead,
 * userRead, smapRead). Raises #PF.
 */
export function walk(cpu: i32, la: i64, access: i32, view: i32): i64 {
  return walkAny(cpu, la, access, view, false);
}

/** As `walk`, without rights, accessed bits or faults; Walk_none when nothing is mapped. */
export function walkQuietly(cpu: i32, la: i64): i64 {
  return walkAny(cpu, la, Access_read, 0, true);
}

/**
 * Loads the four PDPTE registers from the table at `cr3` (SDM Vol. 3A 4.4.1). Answers false, and changes nothing, when a present
 * entry has reserved bits: the caller raises #GP(0).
 */
export function loadPdptes(cpu: i32, cr3: i64): bool {
  const table = cr3 & 0xffff_ffe0;
  const reserved = (frame64 & ~load<i64>(cpu, Cpu_physicalMask)) | 0xfff0_0000_0000_01e6;
  for (let i = 0; i < 4; i++) {
    const entry = readPhysical<i64>(table + i * 8);
    if ((entry & present) != 0 && (entry & reserved) != 0) return false;
  }
  for (let i = 0; i < 4; i++) store<i64>(cpu + i * 8, readPhysical<i64>(table + i * 8), Cpu_pdpte);
  return true;
}
