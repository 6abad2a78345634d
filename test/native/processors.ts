/**
 * In what processors differ from each other where the manuals leave it open, or where makers disagree; by maker and model, with
 * sources. The native comparison leaves out exactly that in which the host's processor is known to differ from the emulated one, and on a
 * processor that is not in this table everything in which one could. `observe.ts` asks a processor for these facts, so the table is
 * checked on every host that is in it, and the emulated processor against `emulatedFacts`.
 */

import { type Mode, modes } from './case.ts';

export interface ProcessorIdentity {
  readonly vendor: string;
  /** With the extended fields of CPUID added, as the makers' documents count them. */
  readonly family: number;
  readonly model: number;
}

export interface ProcessorFacts {
  /** FXRSTOR64 and XRSTOR64 keep so many bits of FIP and FDP; FXSAVE64 gives them back sign-extended. */
  readonly x87PointerBits: 48 | 57 | 64;
  /** FOP, FIP and FDP in FXSAVE's image while no unmasked x87 exception is pending. */
  readonly idleX87Pointers: 'kept' | 'zero';
  /** C1 of the x87 after FCOMI and its like, when it was 1. */
  readonly compareFlagsC1: 'cleared' | 'kept';
  /** C1 after FCMOVcc, when it was 1. */
  readonly conditionalMoveC1: 'cleared' | 'kept';
  /** Bits 32-63 of the destination after a BSF or BSR of 32 bits whose source is 0. */
  readonly bitScanOfZero: 'kept' | 'cleared';
  /** MASKMOVDQU and MASKMOVQ to a page that is not there, with an empty mask. */
  readonly emptyMaskedMove: 'faults' | 'nothing';
  /** SHA instructions with memory that is not a multiple of 16. */
  readonly shaAlignment: 'checked' | 'ignored';
  /** A near branch with an operand-size prefix in 64-bit code. */
  readonly shortBranch: 'is short' | 'prefix ignored';
  /** LOOPE with a prefix F2 while ZF is 0. */
  readonly repeatedLoop: 'jumps' | 'prefix ignored';
  /** 0F 0D with a register operand. */
  readonly prefetchRegister: 'undefined' | 'no operation';
  /** LFS and other loads of far pointers with REX.W; not compared (they depend on descriptor tables). */
  readonly wideFarPointer: 'm16:32' | 'm16:64';
  /** MXCSR_MASK; AMD's bit 17 is the misaligned mode. A case that ends with that bit is not compared. */
  readonly mxcsrMask: number;
  /** F2XM1 of 3, FYL2XP1 of -2 and FBLD of digits above 9: exponent and significand in hexadecimal. */
  readonly outOfDomain: string;
  /** The address that is reported when ENTER's pushes, FNSAVE's image and FLDENV's meet a page that is not there, in hexadecimal. */
  readonly imageFaults: string;
  /** RCPPS, RSQRTPS of 1, 2, 3; compared within the error that the manuals allow. */
  readonly approximations: string;
  /** What the manuals call undefined in the flags (see `flagSamples` in observe.ts); never compared. */
  readonly undefinedFlags: string;
}
export type Fact = keyof ProcessorFacts;

/**
 * The processor that we emulate (docs/decisions/0042-which-processor.md): Intel's rules. Where its manual allows more than
 * one answer, the one that could be checked on a processor.
 */
export const emulatedFacts: ProcessorFacts = {
  x87PointerBits: 48,
  idleX87Pointers: 'kept',
  compareFlagsC1: 'cleared',
  conditionalMoveC1: 'kept',
  bitScanOfZero: 'kept',
  emptyMaskedMove: 'faults',
  shaAlignment: 'checked',
  shortBranch: 'prefix ignored',
  repeatedLoop: 'prefix ignored',
  prefetchRegister: 'no operation',
  wideFarPointer: 'm16:64',
  mxcsrMask: 0xffff,
  outOfDomain: '4000:c000000000000000 c000:8000000000000000 c03a:fa24914a8d1d6f90',
  imageFaults: '2fffff 202028 202000 20200b',
  approximations: '3f800000 3f000000 3eaaa800 3f800000 3f350800 3f13d000',
  undefinedFlags:
    'AND 0 0, SHL 1 4 4, SHR 3 1 1, SAR 3 1 1, ROL 3 0 d4, SHLD 16 by 20 800 800, SHRD 16 by 20 804 804, ' +
    'MUL 4 4, IMUL 4 4, DIV 0 8d5, IDIV 0 8d5, BSF 4 4, BSR 4 4, BT 1 8d5',
};

interface ProcessorRow extends ProcessorIdentity {
  readonly name: string;
  readonly facts: Partial<ProcessorFacts>;
  readonly source: string;
}

/**
 * What all models of AMD's families 25 and 26 that were asked share. AMD's manual agrees where it speaks: APM Vol. 2 11.4.4 (pointers in FXSAVE's
 * image), Vol. 3 on LFS, near branches and PREFETCHW, Vol. 1 4.2.2 (MXCSR bit 17).
 * Intel's processors are not in the table yet: their manual leaves most of this open, and nobody has asked one.
 */
const sinceZen3: Partial<ProcessorFacts> = {
  idleX87Pointers: 'zero',
  compareFlagsC1: 'kept',
  conditionalMoveC1: 'kept',
  bitScanOfZero: 'kept',
  emptyMaskedMove: 'faults',
  wideFarPointer: 'm16:32',
  outOfDomain: '4000:c000000000000000 c000:8000000000000000 c03a:fa24914a8d1d6f90',
  approximations: '3f7ff000 3efff000 3eaaa800 3f7ff800 3f350000 3f13c800',
};

const sinceZen4: Partial<ProcessorFacts> = {
  ...sinceZen3,
  shaAlignment: 'ignored',
  x87PointerBits: 57,
  shortBranch: 'is short',
  repeatedLoop: 'jumps',
  prefetchRegister: 'undefined',
  mxcsrMask: 0x2_ffff,
  imageFaults: '2fffff 202028 202000 20200b',
  undefinedFlags:
    'AND 0 0, SHL 1 14 14, SHR 3 11 11, SAR 3 11 11, ROL 3 0 d4, SHLD 16 by 20 14 14, SHRD 16 by 20 14 14, ' +
    'MUL 0 d4, IMUL 0 d4, DIV 10 811, IDIV 10 811, BSF 0 0, BSR 4 4, BT 1 8d5',
};

export const processors: readonly ProcessorRow[] = [
  {
    name: 'AMD family 25 model 1 (Zen 3)',
    vendor: 'AuthenticAMD',
    family: 25,
    model: 1,
    facts: { ...sinceZen3, x87PointerBits: 48 },
    source:
      'C programs and this comparison on an EPYC of that model (1,374 of 1,375 encodings agreed before there was this table)',
  },
  {
    name: 'AMD family 25 model 17 (Zen 4)',
    vendor: 'AuthenticAMD',
    family: 25,
    model: 17,
    facts: sinceZen4,
    source: 'observe.ts on an EPYC of that model',
  },
  {
    name: 'AMD family 26 model 2 (Zen 5)',
    vendor: 'AuthenticAMD',
    family: 26,
    model: 2,
    facts: sinceZen4,
    source: 'observe.ts on two EPYCs of that model, one of which ran 64-bit programs alone',
  },
];

/** What the comparison leaves out when the host differs in a fact, in words. */
const leftOutWords: Readonly<Partial<Record<Fact, string>>> = {
  x87PointerBits: 'bits 48-63 of FIP and FDP',
  idleX87Pointers: 'FOP, FIP and FDP without a pending exception',
  compareFlagsC1: 'C1 after FCOMI, FCOMIP, FUCOMI and FUCOMIP',
  conditionalMoveC1: 'C1 after FCMOVcc',
  bitScanOfZero: 'the destination of BSF and BSR of 32 bits with a source of 0',
  emptyMaskedMove: 'faults of MASKMOVDQU and MASKMOVQ',
  shaAlignment: 'SHA instructions with misaligned memory',
  shortBranch: 'near branches with an operand-size prefix in 64-bit code',
  repeatedLoop: 'LOOPE and LOOPNE with a repeat prefix',
  prefetchRegister: '0F 0D with a register',
  imageFaults: 'faults of ENTER, and of loads and stores of x87 images',
  outOfDomain: 'F2XM1 and FYL2XP1 outside of their domain, FBLD of digits above 9',
};

/** What the host's system leaves of its processor: a kernel that is itself a guest without the processor's help may leave less. */
export interface System {
  /** The code that programs may consist of. */
  readonly modes: readonly Mode[];
  /** Whether a program may be entered with an RSP that is no canonical address. */
  readonly anyStackPointer: boolean;
  /** Whether it has the instructions of the x86-64-v3 model. */
  readonly newer: boolean;
}

export const wholeSystem: System = { modes, anyStackPointer: true, newer: true };

/** How a host is compared with the emulated processor. */
export interface Host {
  readonly name: string;
  /** Whether the model is in the table. */
  readonly known: boolean;
  readonly facts: Partial<ProcessorFacts>;
  readonly system: System;
  /** Whether the two are known to do the same. */
  readonly agrees: (fact: Fact) => boolean;
}

export function hostOf(identity: ProcessorIdentity, system = wholeSystem): Host {
  const { vendor, family, model } = identity;
  const row = processors.find((one) => one.vendor === vendor && one.family === family && one.model === model);
  const facts = row?.facts ?? {};
  return {
    name: row?.name ?? `${vendor} family ${String(family)} model ${String(model)}`,
    known: row !== undefined,
    facts,
    system,
    agrees: (fact) => facts[fact] === emulatedFacts[fact],
  };
}

/** The emulated processor as a host: it agrees with itself. */
export const emulatedHost: Host = {
  name: 'emulated',
  known: true,
  facts: emulatedFacts,
  system: wholeSystem,
  agrees: () => true,
};

/** What is not compared on this host, and why: one line. */
export function leftOut(host: Host): string {
  const { system } = host;
  const lacks = modes
    .filter((mode) => !system.modes.includes(mode))
    .map((mode) => `${String(mode)}-bit code`);
  if (!system.anyStackPointer) lacks.push('an RSP that is not canonical');
  if (!system.newer) lacks.push('some instructions of the x86-64-v3 model, of which then none is compared');
  const without = lacks.length === 0 ? '' : `; and because its system does without: ${lacks.join(', ')}`;
  const differs = Object.entries(leftOutWords).filter(([fact]) => !host.agrees(fact as Fact));
  const why = host.known ? 'differs there or was not asked' : 'is not in test/native/processors.ts';
  return `${host.name}: not compared, because it ${why}: ${differs.map(([, words]) => words).join('; ')}${without}`;
}
