/** Small programs on the whole processor, 32 and 64 bits. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { TestCpu } from './testing/test-cpu.ts';

const code = 0x10_0000;

for (const kind of ['interpreter', 'translator'] as const)
  describe(kind, async () => {
    const cpu = await TestCpu.create({ kind, hotThreshold: 2 });

    test('a loop in 32-bit code counts exactly, whatever the budget', () => {
      cpu.flat(32);
      // mov ecx, 1000; xor eax, eax; L: add eax, ecx; dec ecx; jnz L; L2: jmp L2
      cpu.write(code, [0xb9, 0xe8, 3, 0, 0, 0x31, 0xc0, 0x01, 0xc8, 0x49, 0x75, 0xfb, 0xeb, 0xfe]);
      cpu.set('rip', code);
      assert.equal(cpu.run(2 + 3 * 1000), 1);
      assert.equal(cpu.remaining, 0n);
      assert.equal(cpu.get('rax'), 500500n);
      assert.equal(cpu.get('rip'), BigInt(code + 12));
      for (const budget of [1, 2, 3, 4, 5, 7, 100, 101]) {
        cpu.set('rip', code);
        cpu.set('rax', 77);
        for (let left = 2 + 3 * 500; left > 0; left -= budget) cpu.run(Math.min(budget, left));
        assert.equal(cpu.get('rcx'), 500n, `budget ${budget}`);
        assert.equal(cpu.get('rax'), BigInt(500500 - (500 * 501) / 2));
      }
    });

    test('64-bit memory operands, RIP-relative, push and pop, call and return', () => {
      cpu.flat(64);
      // mov rax,[rip+0x19]; push rax; pop rbx; lea rcx,[rbx+rbx*2]; mov [rip+0x12], rcx; call +1; hlt?; ret
      cpu.write(
        code,
        [
          0x48, 0x8b, 0x05, 0x39, 0, 0, 0, 0x50, 0x5b, 0x48, 0x8d, 0x0c, 0x5b, 0x48, 0x89, 0x0d, 0x34, 0, 0,
          0, 0xe8, 2, 0, 0, 0, 0xeb, 0xfe, 0xff, 0xc1, 0xc3,
        ],
      );
      cpu.write(code + 0x40, [0x11, 0, 0, 0, 1, 0, 0, 0]);
      cpu.set('rip', code);
      cpu.set('rsp', 0x20_0000);
      cpu.run(8);
      assert.equal(cpu.get('rbx'), 0x1_0000_0011n);
      assert.equal(new DataView(cpu.read(code + 0x48, 8).buffer).getBigUint64(0, true), 0x3_0000_0033n);
      assert.equal(cpu.get('rcx'), 0x34n);
      assert.equal(cpu.get('rip'), BigInt(code + 25));
      assert.equal(cpu.get('rsp'), 0x20_0000n);
    });

    test('code that overwrites its next instruction sees the new one', () => {
      cpu.flat(32);
      // mov byte [code+8], 0x42 (inc edx); nop... target: inc ecx → inc edx
      cpu.write(code, [0xc6, 0x05, ...[0x08, 0x00, 0x10, 0x00], 0x42, 0x90, 0x41, 0xeb, 0xfe]);
      cpu.set('rip', code);
      cpu.set('rcx', 0);
      cpu.set('rdx', 0);
      cpu.run(3);
      assert.equal(cpu.get('rcx'), 0n);
      assert.equal(cpu.get('rdx'), 1n);
    });
  });
