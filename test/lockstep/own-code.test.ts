/** A region whose own code is changed by an instruction that it leaves to the interpreter. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { TestCpu } from '../../packages/emulator/src/cpu/testing/test-cpu.ts';

const codeAddress = 0x10_0000;

/**
 *   mov eax, number of the ADD; mov ecx, 51; xor ebx, ebx
 *   again: xor byte fs:[eax], 3    ; through FS in 32-bit code: left to the interpreter
 *          add ebx, 1              ; 2 and 1 in turn
 *          dec ecx; jnz again
 *   jmp $
 */
const code = [
  ...[0xb8, 0x13, 0x00, 0x10, 0x00, 0xb9, 51, 0, 0, 0, 0x31, 0xdb, 0x90],
  ...[0x64, 0x80, 0x30, 0x03, 0x83, 0xc3, 0x01, 0x49, 0x75, 0xf6, 0xeb, 0xfe],
];

for (const kind of ['interpreter', 'translator'] as const)
  test(`the ${kind} sees a store into the code that is running`, async () => {
    const cpu = await TestCpu.create({ kind, hotThreshold: 1 });
    cpu.flat(32);
    cpu.write(codeAddress, code);
    cpu.flags = 2;
    cpu.set('rip', codeAddress);
    cpu.run(4 + 51 * 4);
    assert.equal(cpu.get('rcx'), 0n);
    assert.equal(cpu.get('rbx'), 26n * 2n + 25n * 1n);
  });

/**
 *   mov ecx, 60; xor ebx, ebx; mov esp, 0x20_0000
 *   again: call other
 *          dec ecx; cmp ecx, 20; jne on
 *          mov byte [other + 2], 5
 *   on:    test ecx, ecx; jnz again
 *   jmp $
 *   other, on the next page: add ebx, 1; ret
 */
const caller = [
  ...[0xb9, 60, 0, 0, 0, 0x31, 0xdb, 0xbc, 0, 0, 0x20, 0],
  ...[0xe8, 0xef, 0x0f, 0, 0, 0x49, 0x83, 0xf9, 20, 0x75, 0x07],
  ...[0xc6, 0x05, 0x02, 0x10, 0x10, 0x00, 5, 0x85, 0xc9, 0x75, 0xea, 0xeb, 0xfe],
];
const other = [0x83, 0xc3, 0x01, 0xc3];

for (const kind of ['interpreter', 'translator'] as const)
  test(`the ${kind} sees a store into a function of another page that it calls`, async () => {
    const cpu = await TestCpu.create({ kind, hotThreshold: 8 });
    cpu.flat(32);
    cpu.write(codeAddress, caller);
    cpu.write(codeAddress + 0x1000, other);
    cpu.flags = 2;
    cpu.set('rip', codeAddress);
    cpu.run(1000);
    assert.equal(cpu.get('rcx'), 0n);
    assert.equal(cpu.get('rbx'), 40n * 1n + 20n * 5n);
  });
