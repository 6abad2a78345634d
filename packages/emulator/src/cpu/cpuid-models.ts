/**
 * Processor models: which features they have, and the CPUID leaves that say exactly that. SDM Vol. 2, CPUID.
 *
 * Vendor GenuineIntel: details where processors differ (SYSRET, null segments, SYSCALL in compatibility mode) follow Intel's manual.
 * TSC and crystal run at 1 GHz of virtual time.
 */
import { Cpu, CpuFeature } from './layout.ts';

/** Name of a processor model. */
export type CpuModelName = '486' | 'pentium' | 'pentium3' | 'x86-64' | 'x86-64-v2' | 'x86-64-v3';
type Feature = keyof typeof CpuFeature;

interface CpuModel {
  brand: string;
  /** CPUID leaf 1 EAX: family, model, stepping. */
  signature: number;
  physicalAddressBits: number;
  features: readonly Feature[];
}

const features486: readonly Feature[] = ['cpuid', 'fpu', 'vme'];
// prettier-ignore
const featuresPentium: readonly Feature[] = [
  ...features486, 'debugExtensions', 'pse', 'tsc', 'msr', 'mce', 'cx8', 'mmx', 'apic',
];
// prettier-ignore
const featuresPentium3: readonly Feature[] = [
  ...featuresPentium, 'pae', 'sysenter', 'mtrr', 'pge', 'cmov', 'pat', 'pse36', 'fxsr', 'sse', 'nopl',
];
const featuresX8664: readonly Feature[] = [
  ...featuresPentium3,
  'clflush',
  'sse2',
  'syscall',
  'longMode',
  'nx',
];
// prettier-ignore
const featuresX8664V2: readonly Feature[] = [
  ...featuresX8664, 'sse3', 'ssse3', 'sse41', 'sse42', 'popcnt', 'movbe', 'cx16', 'lahf64', 'rdtscp', 'rdrand', 'rdseed', 'xsave', 'page1g',
  'smep', 'smap', 'umip', 'tscDeadline', 'prefetchw',
];

/** The level's own features, and what processors of its generation and the next have besides: AES, SHA, ADX and their wide forms. */
// prettier-ignore
const featuresX8664V3: readonly Feature[] = [
  ...featuresX8664V2, 'avx', 'avx2', 'fma', 'f16c', 'bmi1', 'bmi2', 'lzcnt', 'xsaveopt', 'xsavec', 'aes', 'pclmulqdq', 'sha', 'adx', 'vaes',
  'vpclmulqdq',
];

// prettier-ignore
export const cpuModels: Readonly<Record<CpuModelName, CpuModel>> = {
  '486': { brand: 'Revenant 486', signature: 0x480, physicalAddressBits: 32, features: features486 },
  pentium: { brand: 'Revenant Pentium', signature: 0x543, physicalAddressBits: 32, features: featuresPentium },
  pentium3: { brand: 'Revenant Pentium III', signature: 0x68a, physicalAddressBits: 36, features: featuresPentium3 },
  'x86-64': { brand: 'Revenant x86-64', signature: 0x6fb, physicalAddressBits: 40, features: featuresX8664 },
  'x86-64-v2': { brand: 'Revenant x86-64-v2', signature: 0x106a5, physicalAddressBits: 40, features: featuresX8664V2 },
  // The signature of Gracemont, which has just these features.
  'x86-64-v3': { brand: 'Revenant x86-64-v3', signature: 0xb06e0, physicalAddressBits: 40, features: featuresX8664V3 },
};

type BitTable = Partial<Record<Feature, readonly number[]>>;
// prettier-ignore
const leaf1Edx: BitTable = {
  fpu: [0], vme: [1], debugExtensions: [2], pse: [3], tsc: [4], msr: [5], pae: [6], mce: [7], cx8: [8], apic: [9], sysenter: [11], mtrr: [12], pge: [13],
  cmov: [15], pat: [16], pse36: [17], clflush: [19], mmx: [23], fxsr: [24], sse: [25], sse2: [26],
};
// prettier-ignore
const leaf1Ecx: BitTable = {
  sse3: [0], ssse3: [9], cx16: [13], sse41: [19], sse42: [20], movbe: [22], popcnt: [23], tscDeadline: [24], xsave: [26], rdrand: [30],
  pclmulqdq: [1], fma: [12], aes: [25], avx: [28], f16c: [29],
};
/** Fast string operations (bit 9) are told together with SMEP: both came with the same generation. */
// prettier-ignore
const leaf7Ebx: BitTable = {
  bmi1: [3], avx2: [5], smep: [7, 9], bmi2: [8], rdseed: [18], adx: [19], smap: [20], sha: [29],
};
const leaf7Ecx: BitTable = { umip: [2], vaes: [9], vpclmulqdq: [10] };
/** Fast short REP MOV (4), ARCH_CAPABILITIES (29), see core/msr.ts. */
const leaf7Edx: BitTable = { smep: [4, 29] };
const extendedEcx: BitTable = { lahf64: [0], lzcnt: [5], prefetchw: [8] };
const extendedEdx: BitTable = { syscall: [11], nx: [20], page1g: [26], rdtscp: [27], longMode: [29] };

/** Leaf 0Dh, sub-leaf 1: XSAVEOPT, XSAVEC, XGETBV of ECX = 1. */
const xsaveEax: BitTable = { xsaveopt: [0], xsavec: [1, 2] };

// prettier-ignore
const cr4Bits: BitTable = {
  vme: [0, 1], tsc: [2], debugExtensions: [3], pse: [4], pae: [5], mce: [6], pge: [7], sysenter: [8], fxsr: [9], sse: [10], umip: [11], xsave: [18],
  smep: [20], smap: [21],
};
const eferBits: BitTable = { syscall: [0], longMode: [8], nx: [11] };

function bits(model: CpuModel, table: BitTable): number {
  let value = 0;
  for (const feature of model.features) for (const bit of table[feature] ?? []) value |= 1 << bit;
  return value >>> 0;
}

/** Bits of Cpu.features. */
export function featureBits(name: CpuModelName): bigint {
  return cpuModels[name].features.reduce((mask, feature) => mask | BigInt(CpuFeature[feature]), 0n);
}

/** Whether a processor model has YMM registers. */
export const hasAvx = (name: CpuModelName): boolean => cpuModels[name].features.includes('avx');

export interface CpuTopology {
  apicId: number;
  cpuCount: number;
}

/** One answer: leaf, subleaf (0xffff_ffff: any), EAX, EBX, ECX, EDX. */
export type CpuidEntry = readonly [number, number, number, number, number, number];
const anySubleaf = 0xffff_ffff;
const crystalHz = 1_000_000_000;

function text(value: string, at: number): number {
  return [3, 2, 1, 0].reduce((word, i) => ((word << 8) | (value.charCodeAt(at + i) || 0)) >>> 0, 0);
}

/** Bits of an APIC identifier that name a processor in its package: each is a core of one thread, and all are in one package. */
function coreBits(cpuCount: number): number {
  return Math.ceil(Math.log2(cpuCount));
}

function cacheLeaves({ cpuCount }: CpuTopology): CpuidEntry[] {
  // Type and level; 8 ways of 64-byte lines: 32 KiB data, 32 KiB code, 256 KiB unified, each of one core's own.
  const geometry = (7 << 22) | 63;
  const cores = ((1 << coreBits(cpuCount)) - 1) << 26;
  return [
    [4, 0, cores | 0x121, geometry, 63, 0],
    [4, 1, cores | 0x122, geometry, 63, 0],
    [4, 2, cores | 0x143, geometry, 511, 0],
  ];
}

/** Extended topology: one thread in a core, the cores in the package. Without other processors there is nothing to tell. */
function topologyLeaves({ apicId, cpuCount }: CpuTopology): CpuidEntry[] {
  if (cpuCount === 1) return [];
  const [threads, cores] = [0x100, 0x200];
  return [
    [0xb, 0, 0, 1, threads, apicId],
    [0xb, 1, coreBits(cpuCount), cpuCount, cores | 1, apicId],
    [0xb, anySubleaf, 0, 0, 0, apicId],
  ];
}

function brandLeaves(brand: string): CpuidEntry[] {
  return [0, 1, 2].map((i) => {
    const word = (n: number): number => text(brand, i * 16 + n * 4);
    return [0x8000_0002 + i, anySubleaf, word(0), word(1), word(2), word(3)] as const;
  });
}

/** The CPUID leaves of a model. */
export function cpuidEntries(name: CpuModelName, topology: CpuTopology): CpuidEntry[] {
  const model = cpuModels[name];
  const has = (feature: Feature): boolean => model.features.includes(feature);
  const vendor = 'GenuineIntel';
  const lastBasic = has('smep') ? 0x16 : has('longMode') ? 4 : has('sysenter') ? 2 : 1;
  // Before leaf 4, which tells cores from threads, each processor is a package of its own.
  const several = topology.cpuCount > 1 && lastBasic >= 4;
  const inPackage = several ? 1 << coreBits(topology.cpuCount) : 0;
  const leaf1Ebx = (topology.apicId << 24) | (inPackage << 16) | (has('clflush') ? 8 << 8 : 0);
  // MCE comes with the machine-check architecture (bit 14) since the P6.
  const mca = has('mce') && has('sysenter') ? 1 << 14 : 0;
  const entries: CpuidEntry[] = [
    [0, anySubleaf, lastBasic, text(vendor, 0), text(vendor, 8), text(vendor, 4)],
    [
      1,
      anySubleaf,
      model.signature,
      leaf1Ebx,
      bits(model, leaf1Ecx),
      bits(model, leaf1Edx) | mca | (several ? 1 << 28 : 0),
    ],
  ];
  if (lastBasic >= 2) entries.push([2, anySubleaf, 1, 0, 0, 0]);
  if (lastBasic >= 4) entries.push(...cacheLeaves(topology));
  if (lastBasic >= 0x16) {
    entries.push(
      // The APIC timer never stops.
      [6, anySubleaf, 4, 0, 0, 0],
      [7, 0, 0, bits(model, leaf7Ebx), bits(model, leaf7Ecx), bits(model, leaf7Edx)],
      ...topologyLeaves(topology),
      // The sizes in EBX follow XCR0: core/system/cpuid.ts.
      [0xd, 0, has('avx') ? 7 : 3, 576, has('avx') ? 832 : 576, 0],
      [0xd, 1, bits(model, xsaveEax), has('xsavec') ? 576 : 0, 0, 0],
      ...(has('avx') ? [[0xd, 2, 256, 576, 0, 0] as const] : []),
      [0x15, anySubleaf, 1, 1, crystalHz, 0],
      [0x16, anySubleaf, crystalHz / 1e6, crystalHz / 1e6, 100, 0],
    );
  }
  if (has('longMode')) {
    entries.push(
      [0x8000_0000, anySubleaf, 0x8000_0008, 0, 0, 0],
      [0x8000_0001, anySubleaf, 0, 0, bits(model, extendedEcx), bits(model, extendedEdx)],
      ...brandLeaves(model.brand),
      [0x8000_0006, anySubleaf, 0, 0, 0x0100_6040, 0],
      // The TSC runs at a constant rate in every state.
      [0x8000_0007, anySubleaf, 0, 0, 0, 1 << 8],
      [0x8000_0008, anySubleaf, model.physicalAddressBits | (48 << 8), 0, 0, 0],
    );
  }
  return entries;
}

/** Where the CPUID table of a vCPU lies, relative to its block. */
export const cpuidTableOffset = 0x1000;

/** Writes all that a model decides into a vCPU block, and its number, which is its APIC identifier. Call it before the core's resetCpu. */
export function installCpuModel(
  view: DataView,
  cpu: number,
  name: CpuModelName,
  topology: CpuTopology,
): void {
  const model = cpuModels[name];
  const entries = cpuidEntries(name, topology);
  const table = cpu + cpuidTableOffset;
  entries.flat().forEach((word, i) => {
    view.setUint32(table + i * 4, word >>> 0, true);
  });
  view.setInt32(cpu + Cpu.cpuIndex, topology.apicId, true);
  view.setUint32(cpu + Cpu.cpuidTable, table, true);
  view.setUint32(cpu + Cpu.cpuidEntries, entries.length, true);
  view.setBigInt64(cpu + Cpu.features, featureBits(name), true);
  view.setBigInt64(cpu + Cpu.physicalMask, (1n << BigInt(model.physicalAddressBits)) - 1n, true);
  view.setBigInt64(cpu + Cpu.cr4Valid, BigInt(bits(model, cr4Bits)), true);
  view.setBigInt64(cpu + Cpu.eferValid, BigInt(bits(model, eferBits)), true);
}
