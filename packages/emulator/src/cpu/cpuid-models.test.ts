/** CPUID and the features that depend on the processor model, through the instructions themselves. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { cpuModels, cpuidEntries, installCpuModel, type CpuModelName } from './cpuid-models.ts';
import { Cpu } from './layout.ts';
import { TestCpu } from './testing/test-cpu.ts';

const undefinedOpcode = 6;
const generalProtection = 13;
const models = Object.keys(cpuModels) as CpuModelName[];

describe('processor models', () => {
  let cpu: TestCpu;
  before(async () => {
    cpu = await TestCpu.create();
  });

  function start(model: CpuModelName, code: readonly number[], bits: 16 | 32 | 64 = 32): void {
    installCpuModel(cpu.view, cpu.cpu, model, { apicId: 0, cpuCount: 1 });
    cpu.engine.core.resetCpu(cpu.cpu);
    cpu.flat(bits);
    cpu.write(0x8000, code);
    cpu.set('rip', 0x8000);
  }

  /** EAX, EBX, ECX, EDX. */
  function cpuid(model: CpuModelName, leaf: number, subleaf = 0): number[] {
    start(model, [0x0f, 0xa2]);
    cpu.set('rax', leaf);
    cpu.set('rcx', subleaf);
    assert.equal(cpu.step(), 0);
    return ['rax', 'rbx', 'rcx', 'rdx'].map((name) => Number(cpu.get(name)));
  }

  function ascii(words: readonly number[]): string {
    return words
      .map((word) => String.fromCharCode(...[0, 8, 16, 24].map((s) => (word >>> s) & 255)))
      .join('');
  }

  /** The vector an instruction raises at CPL 0, or -1. */
  function vectorOf(
    model: CpuModelName,
    code: readonly number[],
    registers: Record<string, number> = {},
  ): number {
    start(model, code);
    for (const [name, value] of Object.entries(registers)) cpu.set(name, value);
    return cpu.step() === 0 ? -1 : cpu.pending;
  }

  for (const model of models) {
    test(`${model}: CPUID answers the table`, () => {
      const [last, b = 0, c = 0, d = 0] = cpuid(model, 0);
      assert.equal(ascii([b, d, c]), 'GenuineIntel');
      for (const [leaf, subleaf, ...want] of cpuidEntries(model, { apicId: 0, cpuCount: 1 })) {
        const got = cpuid(model, leaf, subleaf === 0xffff_ffff ? 0 : subleaf);
        assert.deepEqual(
          got,
          want.map((word) => word >>> 0),
          `leaf ${leaf.toString(16)}`,
        );
      }
      // Beyond the last leaf: as the last basic one (SDM Vol. 2, CPUID).
      assert.deepEqual(cpuid(model, 0x1234), cpuid(model, last ?? 0));
      assert.deepEqual(cpuid(model, 0x4000_0000), cpuid(model, last ?? 0));
    });
  }

  test('x86-64-v2 has what the level asks for (System V ABI, micro-architecture levels)', () => {
    const [, , ecx = 0, edx = 0] = cpuid('x86-64-v2', 1);
    const baseline = [0, 8, 15, 23, 24, 25, 26];
    for (const bit of baseline) assert.ok((edx >>> bit) & 1, `leaf 1 EDX bit ${bit}`);
    const second = [0, 9, 13, 19, 20, 23];
    for (const bit of second) assert.ok((ecx >>> bit) & 1, `leaf 1 ECX bit ${bit}`);
    const [, , extendedEcx = 0, extendedEdx = 0] = cpuid('x86-64-v2', 0x8000_0001);
    assert.ok(extendedEcx & 1, 'LAHF');
    assert.ok((extendedEdx >>> 29) & 1, 'long mode');
    const brand = [2, 3, 4].map((i) => ascii(cpuid('x86-64-v2', 0x8000_0000 + i))).join('');
    assert.match(brand, /^Revenant x86-64-v2/);
  });

  test('x86-64-v3 has what the level asks for, and what comes with it', () => {
    const has = (word: number, bits: readonly number[], where: string): void => {
      for (const bit of bits) assert.ok((word >>> bit) & 1, `${where} bit ${bit}`);
    };
    const [, , ecx = 0] = cpuid('x86-64-v3', 1);
    has(ecx, [1, 12, 22, 25, 26, 28, 29], 'leaf 1 ECX');
    const [, ebx = 0, wide = 0] = cpuid('x86-64-v3', 7);
    has(ebx, [3, 5, 8, 18, 19, 29], 'leaf 7 EBX');
    has(wide, [9, 10], 'leaf 7 ECX');
    const [, , extendedEcx = 0] = cpuid('x86-64-v3', 0x8000_0001);
    has(extendedEcx, [5], 'leaf 80000001h ECX');
    assert.deepEqual(cpuid('x86-64-v3', 0xd, 2), [256, 576, 0, 0]);
  });

  test('several processors are cores of one package, or packages where no leaf tells cores from threads', () => {
    const answer = (model: CpuModelName, leaf: number, [apicId, cpuCount]: [number, number]): number[] => {
      start(model, [0x0f, 0xa2]);
      installCpuModel(cpu.view, cpu.cpu, model, { apicId, cpuCount });
      cpu.view.setInt32(cpu.cpu + Cpu.cpuIndex, 0, true);
      cpu.set('rax', leaf & 0xff);
      cpu.set('rcx', leaf >>> 8);
      assert.equal(cpu.step(), 0);
      return (['rax', 'rbx', 'rcx', 'rdx'] as const).map((name) => Number(cpu.get(name)));
    };
    for (const [count, bits] of [
      [2, 1],
      [3, 2],
      [4, 2],
      [16, 4],
    ] as const) {
      const last: [number, number] = [count - 1, count];
      const [, ebx = 0, , edx = 0] = answer('x86-64-v2', 1, last);
      assert.deepEqual([ebx >>> 24, (ebx >>> 16) & 0xff, (edx >>> 28) & 1], [count - 1, 1 << bits, 1]);
      const [eax = 0] = answer('x86-64-v2', 4, last);
      assert.deepEqual([eax >>> 26, (eax >>> 14) & 0xfff], [(1 << bits) - 1, 0]);
      assert.deepEqual(answer('x86-64-v2', 0x0b, last), [0, 1, 0x100, count - 1]);
      assert.deepEqual(answer('x86-64-v2', 0x10b, last), [bits, count, 0x201, count - 1]);
      assert.deepEqual(answer('x86-64-v2', 0x20b, last), [0, 0, 2, count - 1]);
      assert.deepEqual(answer('x86-64-v2', 0x70b, last), [0, 0, 7, count - 1]);
      const [, old = 0, , oldEdx = 0] = answer('pentium3', 1, last);
      assert.deepEqual([old >>> 24, (old >>> 16) & 0xff, (oldEdx >>> 28) & 1], [count - 1, 0, 0]);
    }
    assert.deepEqual(answer('x86-64-v2', 0x0b, [0, 1]), [0, 0, 0, 0]);
  });

  /** EBX of leaf 0Dh, sub-leaf 0, after XSETBV of XCR0; or the vector that XSETBV raises. */
  function xsaveBytes(model: CpuModelName, xcr0: number): number {
    start(model, [0x0f, 0x01, 0xd1, 0xb8, 0x0d, 0, 0, 0, 0x0f, 0xa2]);
    cpu.view.setBigInt64(cpu.cpu + Cpu.cr4, 0x4_0600n, true);
    cpu.engine.core.updateMode(cpu.cpu);
    cpu.set('rax', xcr0);
    cpu.set('rcx', 0);
    cpu.set('rdx', 0);
    if (cpu.step() !== 0) return cpu.pending;
    cpu.step();
    cpu.step();
    return Number(cpu.get('rbx'));
  }

  test('XCR0 takes AVX state where the model has it, and the size of an XSAVE area follows', () => {
    assert.equal(xsaveBytes('x86-64-v3', 7), 832);
    assert.equal(xsaveBytes('x86-64-v3', 3), 576);
    assert.equal(xsaveBytes('x86-64-v3', 5), generalProtection);
    assert.equal(xsaveBytes('x86-64-v2', 7), generalProtection);
  });

  test('VEX instructions are undefined without their feature, without XCR0, and outside of protected mode', () => {
    const vaddps = [0xc5, 0xf0, 0x58, 0xc2];
    const andn = [0xc4, 0xe2, 0x70, 0xf2, 0xc2];
    const run = (
      model: CpuModelName,
      code: readonly number[],
      state: { xcr0?: bigint; cr0?: bigint },
    ): number => {
      start(model, code);
      cpu.view.setBigInt64(cpu.cpu + Cpu.cr4, 0x4_0600n, true);
      cpu.view.setBigInt64(cpu.cpu + Cpu.xcr0, state.xcr0 ?? 7n, true);
      cpu.view.setBigInt64(cpu.cpu + Cpu.cr0, state.cr0 ?? 0x33n, true);
      cpu.engine.core.updateMode(cpu.cpu);
      return cpu.step() === 0 ? -1 : cpu.pending;
    };
    const notAvailable = 7;
    assert.equal(run('x86-64-v3', vaddps, {}), -1);
    assert.equal(run('x86-64-v3', vaddps, { xcr0: 3n }), undefinedOpcode);
    assert.equal(run('x86-64-v3', vaddps, { cr0: 0x3bn }), notAvailable);
    assert.equal(run('x86-64-v3', vaddps, { cr0: 0x32n }), undefinedOpcode);
    assert.equal(run('x86-64-v2', vaddps, {}), undefinedOpcode);
    assert.equal(run('x86-64-v3', andn, { xcr0: 1n }), -1);
    assert.equal(run('x86-64-v3', andn, { cr0: 0x32n }), undefinedOpcode);
    assert.equal(run('x86-64-v2', andn, {}), undefinedOpcode);
  });

  test('the prefix that makes TZCNT and LZCNT means nothing to BSF and BSR of older models', () => {
    const result = (model: CpuModelName, opcode: number): number => {
      start(model, [0xf3, 0x0f, opcode, 0xc1]);
      cpu.set('rcx', 0x10);
      cpu.step();
      return Number(cpu.get('rax'));
    };
    const [forward, backward] = [0xbc, 0xbd];
    assert.deepEqual([result('x86-64-v2', forward), result('x86-64-v3', forward)], [4, 4]);
    assert.deepEqual([result('x86-64-v2', backward), result('x86-64-v3', backward)], [4, 27]);
  });

  test('OSXSAVE follows CR4', () => {
    start('x86-64-v2', [0x0f, 0xa2]);
    cpu.view.setBigInt64(cpu.cpu + Cpu.cr4, 0x4_0000n, true);
    cpu.set('rax', 1);
    cpu.step();
    assert.equal((cpu.get('rcx') >> 27n) & 1n, 1n);
  });

  test('instructions and registers that a model lacks', () => {
    const rdtsc = [0x0f, 0x31];
    const rdmsr = [0x0f, 0x32];
    const moveToCr4 = [0x0f, 0x22, 0xe0];
    assert.equal(vectorOf('486', rdtsc), undefinedOpcode);
    assert.equal(vectorOf('pentium', rdtsc), -1);
    assert.equal(vectorOf('486', rdmsr, { rcx: 0x10 }), undefinedOpcode);
    assert.equal(vectorOf('pentium', rdmsr, { rcx: 0x10 }), -1);
    assert.equal(vectorOf('pentium', rdmsr, { rcx: 0x1b }), -1);
    assert.equal(vectorOf('pentium3', rdmsr, { rcx: 0xc000_0080 }), generalProtection);
    assert.equal(vectorOf('x86-64', rdmsr, { rcx: 0xc000_0080 }), -1);
    assert.equal(vectorOf('pentium', moveToCr4, { rax: 0x20 }), generalProtection);
    assert.equal(vectorOf('pentium3', moveToCr4, { rax: 0x20 }), -1);
    assert.equal(vectorOf('x86-64', moveToCr4, { rax: 0x10_0000 }), generalProtection);
    assert.equal(vectorOf('x86-64-v2', moveToCr4, { rax: 0x10_0000 }), -1);
    assert.equal(vectorOf('x86-64', rdmsr, { rcx: 0xc000_0103 }), generalProtection);
    assert.equal(vectorOf('x86-64-v2', rdmsr, { rcx: 0x1234 }), generalProtection);
  });

  test('reset leaves what SDM Vol. 3A table 10-1 says', () => {
    installCpuModel(cpu.view, cpu.cpu, 'x86-64-v2', { apicId: 0, cpuCount: 1 });
    cpu.engine.core.resetCpu(cpu.cpu);
    assert.equal(cpu.get('rip'), 0xfff0n);
    assert.equal(cpu.get('rdx'), BigInt(cpuModels['x86-64-v2'].signature));
    assert.equal(cpu.get('rsp'), 0n);
    assert.equal(cpu.flags, 2);
    assert.equal(cpu.view.getBigInt64(cpu.cpu + Cpu.cr0, true), 0x6000_0010n);
    assert.equal(cpu.view.getBigInt64(cpu.cpu + Cpu.dr + 48, true), 0xffff_0ff0n);
    assert.equal(cpu.view.getBigInt64(cpu.cpu + Cpu.dr + 56, true), 0x400n);
    assert.equal(cpu.view.getBigInt64(cpu.cpu + Cpu.segments + 64, true), 0xffff_0000n);
    assert.equal(cpu.view.getUint32(cpu.cpu + Cpu.idtrLimit, true), 0xffff);
    assert.equal(cpu.view.getUint32(cpu.cpu + Cpu.mxcsr, true), 0x1f80);
    assert.equal(cpu.view.getUint32(cpu.cpu + Cpu.fcw, true), 0x40);
  });
});
