/**
 * CPUID from the table that the machine wrote for the CPU model (cpu/cpuid-models.ts): entries of six u32, { leaf, subleaf, EAX, EBX, ECX,
 * EDX }; subleaf 0xffff_ffff stands for every subleaf. A few bits follow the processor's state.
 */
import {
  Cpu_apicBase,
  Cpu_cpuidEntries,
  Cpu_cpuidTable,
  Cpu_gpr,
  Cpu_xcr0,
  HostDuty_cpuid,
} from '../generated/layout';
import { hostTakes } from '../events/hosted';
import { Cr4_osxsave, cr4Has } from '../state';

const entryBytes: i32 = 24;
const anySubleaf: i32 = -1;
const osxsaveBit: i32 = 1 << 27;
const apicBit: i32 = 1 << 9;
const apicEnable: i64 = 0x800;

/** Address of the entry, or 0. */
function find(cpu: i32, leaf: i32, subleaf: i32): i32 {
  let entry = load<i32>(cpu, Cpu_cpuidTable);
  const end = entry + load<i32>(cpu, Cpu_cpuidEntries) * entryBytes;
  for (; entry < end; entry += entryBytes) {
    if (load<i32>(entry) != leaf) continue;
    const sub = load<i32>(entry, 4);
    if (sub == anySubleaf || sub == subleaf) return entry;
  }
  return 0;
}

/** The highest leaf of the range that `leaf` is in (basic or extended); 0 when the range does not exist. */
function lastLeaf(cpu: i32, leaf: i32): u32 {
  const entry = find(cpu, leaf < 0 ? leaf & 0xffff_0000 : 0, 0);
  return entry == 0 ? 0 : load<u32>(entry, 8);
}

function setResult(cpu: i32, entry: i32, offset: i32, register: i32): void {
  store<i64>(cpu + register * 8, entry == 0 ? 0 : (load<u32>(entry + offset) as i64), Cpu_gpr);
}

/** CPUID: EAX and ECX choose; leaves beyond the last answer as the last basic leaf (SDM Vol. 2 CPUID). */
export function cpuid(cpu: i32): void {
  if (hostTakes(cpu, HostDuty_cpuid)) return;
  let leaf = load<i32>(cpu, Cpu_gpr);
  const subleaf = load<i32>(cpu, Cpu_gpr + 8);
  const inRange = (leaf as u32) < 0x4000_0000 || (leaf as u32) >= 0x8000_0000;
  if (!inRange || (leaf as u32) > lastLeaf(cpu, leaf)) leaf = lastLeaf(cpu, 0) as i32;
  const entry = find(cpu, leaf, subleaf);
  setResult(cpu, entry, 8, 0);
  setResult(cpu, entry, 12, 3);
  setResult(cpu, entry, 16, 1);
  setResult(cpu, entry, 20, 2);
  // Bytes of an XSAVE area with the components in XCR0, in both formats: AVX state is the last one.
  const withAvx = (load<i64>(cpu, Cpu_xcr0) & 4) != 0;
  if (leaf == 0xd && (subleaf as u32) < 2 && withAvx) store<i64>(cpu, 832, Cpu_gpr + 24);
  // A level of the topology that does not exist is still named.
  if (leaf == 0xb && entry != 0 && (subleaf as u32) > 1) store<i64>(cpu, subleaf & 0xff, Cpu_gpr + 8);
  if (leaf != 1) return;
  let ecx = load<i32>(cpu, Cpu_gpr + 8);
  ecx = cr4Has(cpu, Cr4_osxsave) ? ecx | osxsaveBit : ecx & ~osxsaveBit;
  store<i64>(cpu, ecx as u32 as i64, Cpu_gpr + 8);
  if ((load<i64>(cpu, Cpu_apicBase) & apicEnable) == 0) {
    store<i64>(cpu, load<i64>(cpu, Cpu_gpr + 16) & ~(apicBit as i64), Cpu_gpr + 16);
  }
}
