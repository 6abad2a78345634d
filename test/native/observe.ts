/** Asks a processor, the host's or the emulated one, for the facts of processors.ts. */
import { Batch, type Case, type Mode, optionSequence, optionTrapFlag, Place, vectorDone } from './case.ts';
import type { Executor } from './fuzz-rows.ts';
import type { ProcessorFacts } from './processors.ts';

const vectorUndefined = 6;
const vectorPage = 14;
const absentPage = 0x1f_f000n;
/** In window A, at a multiple of 64; RBX points there. */
const area = 128;

interface Probe {
  mode?: Mode;
  code: readonly number[];
  /** Run under TF: one instruction, after which RIP is looked at. */
  single?: boolean;
  gpr?: Readonly<Record<number, bigint>>;
  flags?: number;
  fcw?: number;
  fsw?: number;
  /** ST(0) and ST(1) as sign and exponent, significand. */
  st?: readonly (readonly [number, bigint])[];
  xmm?: readonly bigint[];
  memory?: (view: DataView) => void;
}

const rax = 0,
  rcx = 1,
  rdx = 2,
  rbx = 3,
  rsp = 4,
  rdi = 7;
const C1 = 0x200;
const busyInvalid = 0x8081;
const unmaskedInvalid = 0x37e;

function prepare(c: Case, probe: Probe): void {
  c.bytes.fill(0);
  c.mode = probe.mode ?? 64;
  c.codeOffset = 0x100;
  c.code = Uint8Array.from(probe.code);
  c.options = probe.single === true ? optionTrapFlag : optionSequence;
  c.setGpr(4, BigInt(Place.stack + 0x800));
  c.setGpr(rbx, BigInt(Place.windowA + area));
  for (const [index, value] of Object.entries(probe.gpr ?? {})) c.setGpr(Number(index), value);
  c.rflags = 0x202 | (probe.flags ?? 0);
  const fp = new DataView(c.fxsave.buffer, c.fxsave.byteOffset, 512);
  fp.setUint16(0, probe.fcw ?? 0x37f, true);
  fp.setUint16(2, probe.fsw ?? 0, true);
  fp.setUint32(24, 0x1f80, true);
  (probe.st ?? []).forEach(([head, significand], i) => {
    fp.setUint8(4, fp.getUint8(4) | (1 << i));
    fp.setBigUint64(32 + 16 * i, significand, true);
    fp.setUint16(40 + 16 * i, head, true);
  });
  (probe.xmm ?? []).forEach((value, i) => {
    fp.setBigUint64(160 + 8 * i, value, true);
  });
  probe.memory?.(new DataView(c.windowA.buffer, c.windowA.byteOffset, c.windowA.length));
}

const one = [0x3fff, 1n << 63n] as const;
const three = [0x4000, 3n << 62n] as const;
const minusTwo = [0xc000, 1n << 63n] as const;

/** FXRSTOR64 [RBX]; FXSAVE64 [RBX] with pointers that show how many bits are kept, and a pending exception or none. */
const pointers = (status: number): Probe => ({
  code: [0x48, 0x0f, 0xae, 0x0b, 0x48, 0x0f, 0xae, 0x03],
  memory: (view) => {
    view.setUint16(area, unmaskedInvalid, true);
    view.setUint16(area + 2, status, true);
    view.setBigUint64(area + 8, 0x0140_8000_1234_5678n, true);
    view.setUint32(area + 24, 0x1f80, true);
  },
});

/** Flags that the manuals leave undefined, after one instruction of 32 bits with EAX, ECX, EDX and all flags set or clear. */
const flagSamples: readonly (readonly [string, readonly number[]])[] = [
  ['AND', [0x21, 0xc8]],
  ['SHL 1', [0xd1, 0xe0]],
  ['SHR 3', [0xc1, 0xe8, 3]],
  ['SAR 3', [0xc1, 0xf8, 3]],
  ['ROL 3', [0xc1, 0xc0, 3]],
  ['SHLD 16 by 20', [0x66, 0x0f, 0xa4, 0xc8, 20]],
  ['SHRD 16 by 20', [0x66, 0x0f, 0xac, 0xc8, 20]],
  ['MUL', [0xf7, 0xe1]],
  ['IMUL', [0x0f, 0xaf, 0xc1]],
  ['DIV', [0xf7, 0xf1]],
  ['IDIV', [0xf7, 0xf9]],
  ['BSF', [0x0f, 0xbc, 0xc1]],
  ['BSR', [0x0f, 0xbd, 0xc1]],
  ['BT', [0x0f, 0xa3, 0xc8]],
];
const arithmetic = 0x8d5;

const probes = {
  pending: pointers(busyInvalid),
  idle: pointers(0),
  fcomi: { code: [0xdb, 0xf1], fsw: C1, st: [one, three] },
  fcmov: { code: [0xda, 0xc1], fsw: C1, flags: 1, st: [one, three] },
  bsf: { code: [0x0f, 0xbc, 0xc1], gpr: { [rax]: ~0n } },
  maskmov: { code: [0x66, 0x0f, 0xf7, 0xc1], gpr: { [rdi]: absentPage } },
  // SHA1NEXTE XMM0, [RBX + 1]
  sha: { code: [0x0f, 0x38, 0xc8, 0x43, 1] },
  branch: { code: [0x66, 0x0f, 0x84, 0, 0, 0, 0], single: true },
  loop: { code: [0xf2, 0xe1, 0x10], gpr: { [rcx]: 2n }, single: true },
  prefetch: { code: [0x0f, 0x0d, 0xc0] },
  far: {
    code: [0x48, 0x0f, 0xb4, 0x03],
    // As m16:32: offset 11223344h, selector 0; as m16:64: offset 5566000011223344h, selector 0.
    memory: (view: DataView) => {
      view.setBigUint64(area, 0x5566_0000_1122_3344n, true);
    },
  },
  fxsave: { code: [0x0f, 0xae, 0x03] },
  f2xm1: { code: [0xd9, 0xf0], st: [three] },
  fyl2xp1: { code: [0xd9, 0xf9], st: [minusTwo, one] },
  fbld: {
    code: [0xdf, 0x23],
    memory: (view: DataView) => {
      view.setBigUint64(area, 0xfedc_ba98_7654_321fn, true);
      view.setUint16(area + 8, 0x80ab, true);
    },
  },
  // The first push ends below the stack page.
  enter: { code: [0xc8, 0x10, 0, 3], gpr: { [rsp]: BigInt(Place.stack + 7) } },
  fnsave: { code: [0xdd, 0x33], gpr: { [rbx]: BigInt(Place.data + Place.dataBytes - 67) } },
  fnsaveSplit: { code: [0xdd, 0x33], gpr: { [rbx]: BigInt(Place.data + Place.dataBytes - 3) } },
  fldenv: { code: [0xd9, 0x23], gpr: { [rbx]: BigInt(Place.data + Place.dataBytes - 16) } },
  rcp: { code: [0x0f, 0x53, 0xc0], xmm: [0x4000_0000_3f80_0000n, 0x4040_0000n] },
  rsqrt: { code: [0x0f, 0x52, 0xc0], xmm: [0x4000_0000_3f80_0000n, 0x4040_0000n] },
} satisfies Record<string, Probe>;
type ProbeName = keyof typeof probes;

const hex = (value: bigint | number): string => value.toString(16);

function run(execute: Executor, list: readonly Probe[]): Case[] {
  const batch = new Batch(list.length);
  for (const probe of list) prepare(batch.add(), probe);
  const after = execute(batch);
  return list.map((_, i) => after.at(i).copy());
}

function undefinedFlags(execute: Executor): string {
  const gpr = { [rax]: 0x1_8765n, [rcx]: 0x30n, [rdx]: 0n };
  const list = flagSamples.flatMap(([, code]): Probe[] => [
    { code, gpr, flags: 0 },
    { code, gpr, flags: arithmetic },
  ]);
  const after = run(execute, list);
  return flagSamples
    .map(([name], i) => {
      const [clear, set] = [after[2 * i], after[2 * i + 1]];
      return `${name} ${hex((clear?.rflags ?? 0) & arithmetic)} ${hex((set?.rflags ?? 0) & arithmetic)}`;
    })
    .join(', ');
}

/** The facts of a processor, from single instructions. */
export function observeFacts(execute: Executor): ProcessorFacts {
  const names = Object.keys(probes) as ProbeName[];
  const cases = run(
    execute,
    names.map((name) => probes[name]),
  );
  const after = (name: ProbeName): Case => cases[names.indexOf(name)] as Case;
  const memory = (name: ProbeName): DataView => {
    const { windowA } = after(name);
    return new DataView(windowA.buffer, windowA.byteOffset + area);
  };
  const fp = (name: ProbeName): DataView => {
    const { fxsave } = after(name);
    return new DataView(fxsave.buffer, fxsave.byteOffset, 512);
  };
  const top = (name: ProbeName): string =>
    `${hex(fp(name).getUint16(40, true))}:${hex(fp(name).getBigUint64(32, true))}`;
  const lanes = (name: ProbeName): string =>
    [0, 1, 2].map((i) => hex(fp(name).getUint32(160 + 4 * i, true))).join(' ');
  const c1 = (name: ProbeName): 'kept' | 'cleared' => (fp(name).getUint16(2, true) & C1 ? 'kept' : 'cleared');
  const step = (name: ProbeName): number => Number(after(name).rip) - (Place.code + 0x100);
  const pointer = memory('pending').getBigUint64(8, true);
  return {
    x87PointerBits: pointer === 0xffff_8000_1234_5678n ? 48 : pointer === 0xff40_8000_1234_5678n ? 57 : 64,
    idleX87Pointers: memory('idle').getUint32(8, true) === 0 ? 'zero' : 'kept',
    compareFlagsC1: c1('fcomi'),
    conditionalMoveC1: c1('fcmov'),
    bitScanOfZero: after('bsf').gpr(rax) === 0xffff_ffff_ffff_ffffn ? 'kept' : 'cleared',
    emptyMaskedMove: after('maskmov').trap === vectorPage ? 'faults' : 'nothing',
    shaAlignment: after('sha').trap === vectorDone ? 'ignored' : 'checked',
    shortBranch: step('branch') === 5 ? 'is short' : 'prefix ignored',
    repeatedLoop: step('loop') === 3 ? 'prefix ignored' : 'jumps',
    prefetchRegister: after('prefetch').trap === vectorUndefined ? 'undefined' : 'no operation',
    wideFarPointer:
      after('far').trap === vectorDone && after('far').gpr(rax) === 0x1122_3344n ? 'm16:32' : 'm16:64',
    mxcsrMask: memory('fxsave').getUint32(28, true),
    outOfDomain: ['f2xm1', 'fyl2xp1', 'fbld'].map((name) => top(name as ProbeName)).join(' '),
    imageFaults: (['enter', 'fnsave', 'fnsaveSplit', 'fldenv'] as const)
      .map((name) => hex(after(name).cr2))
      .join(' '),
    approximations: `${lanes('rcp')} ${lanes('rsqrt')}`,
    undefinedFlags: undefinedFlags(execute),
  };
}
