/** The interpreter's run loop: instruction counts, deadlines, faults, code that changes. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { Cpu, ExitReason, Flag } from './layout.ts';
import { TestCpu } from './testing/test-cpu.ts';

const code = 0x10_0000;
const pageBytes = 4096;

describe('run loop', async () => {
  const cpu = await TestCpu.create();
  const start = (bits: 16 | 32 | 64, bytes: number[], at = code): void => {
    cpu.flat(bits);
    cpu.flags = 2;
    cpu.write(at, bytes);
    cpu.set('rip', at);
    cpu.set('rsp', 0x20_0000);
  };

  test('an instruction on two pages runs, and runs changed when its second half was overwritten', () => {
    // mov eax, imm32 with its immediate on the next page; jmp back
    const at = code + pageBytes - 2;
    start(32, [0xb8, 0x11, 0x22, 0x33, 0x44, 0xeb, 0xf9], at);
    cpu.run(2);
    assert.equal(cpu.get('rax'), 0x4433_2211n);
    cpu.write(code + pageBytes, [0x55]);
    cpu.run(2);
    assert.equal(cpu.get('rax'), 0x4433_5511n);
    assert.equal(cpu.get('rip'), BigInt(at));
  });

  test('REP STOSB counts its iterations and stops exactly at the deadline', () => {
    start(64, [0xf3, 0xaa, 0xeb, 0xfe]);
    cpu.set('rax', 0x5a);
    cpu.set('rcx', 1000);
    cpu.set('rdi', 0x18_0000);
    assert.equal(cpu.run(400), ExitReason.deadline);
    assert.equal(cpu.get('rcx'), 600n);
    assert.equal(cpu.get('rip'), BigInt(code));
    cpu.run(600);
    assert.equal(cpu.get('rcx'), 0n);
    assert.equal(cpu.get('rip'), BigInt(code + 2));
    assert.deepEqual([...cpu.read(0x18_0000 + 998, 3)], [0x5a, 0x5a, 0]);
  });

  test('a fault in the middle of a block leaves the count and RIP at the faulting instruction', () => {
    // inc eax; inc eax; xor edx, edx; div edx
    start(32, [0x40, 0x40, 0x31, 0xd2, 0xf7, 0xf2, 0x40, 0x40]);
    cpu.set('rax', 0);
    for (let i = 0; i < 3; i++) assert.equal(cpu.step(), 0);
    assert.equal(cpu.step(), 1);
    assert.equal(cpu.pending, 0);
    assert.equal(cpu.get('rip'), BigInt(code + 4));
    assert.equal(cpu.get('rax'), 2n);
    cpu.view.setInt32(cpu.cpu + Cpu.pendingVector, -1, true);
  });

  test('LOCK where it is not allowed, and more than 15 bytes', () => {
    const vectorOf = (bytes: number[]): number => {
      start(32, bytes);
      cpu.step();
      const vector = cpu.pending;
      cpu.view.setInt32(cpu.cpu + Cpu.pendingVector, -1, true);
      return vector;
    };
    assert.equal(vectorOf([0xf0, 0x01, 0xc8]), 6); // lock add eax, ecx
    assert.equal(vectorOf([0xf0, 0x8b, 0x06]), 6); // lock mov eax, [esi]
    assert.equal(vectorOf([...new Array<number>(14).fill(0x66), 0x01, 0xc8]), 13);
    assert.equal(vectorOf([...new Array<number>(13).fill(0x66), 0x01, 0xc8]), -1);
  });

  test('a guest that faults for ever meets its deadline', () => {
    // Real mode: the handler of #UD is UD2 itself.
    start(16, []);
    cpu.view.setBigInt64(cpu.cpu + Cpu.cr0, 0x10n, true);
    cpu.engine.core.updateMode(cpu.cpu);
    cpu.view.setUint32(cpu.cpu + Cpu.idtrLimit, 0x3ff, true);
    cpu.view.setBigInt64(cpu.cpu + Cpu.idtrBase, 0n, true);
    cpu.write(6 * 4, [0x00, 0x20, 0, 0]);
    cpu.write(0x2000, [0x0f, 0x0b]);
    cpu.set('rip', 0x2000);
    cpu.set('rsp', 0x8000);
    assert.equal(cpu.run(100_000), ExitReason.deadline);
    assert.equal(cpu.remaining, 0n);
  });

  test('flags read late are those of the instruction that made them, in every form of the handler', () => {
    // add al, bl / lahf / seto dl, by register and by memory, 8 bits
    for (const add of [
      [0x00, 0xd8],
      [0x00, 0x1e],
    ]) {
      start(32, [...add, 0x9f, 0x0f, 0x90, 0xc2]);
      cpu.set('rax', 0x7f);
      cpu.set('rbx', 1);
      cpu.set('rsi', 0x19_0000);
      cpu.write(0x19_0000, [0x7f]);
      cpu.run(3);
      assert.equal(Number(cpu.get('rax') >> 8n) & 0xff, Flag.sf | Flag.af | 2);
      assert.equal(cpu.get('rdx') & 0xffn, 1n);
    }
  });

  test('a 16-bit operand size cuts the target of a near jump', () => {
    start(32, [0x66, 0xeb, 0x7e]);
    cpu.run(1);
    assert.equal(cpu.get('rip'), BigInt((code + 3 + 0x7e) & 0xffff));
  });
});
