/** Direct boot of bzImage and ELF kernels, by their boot protocols. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { BootError, pcMemoryMap, planBootSector, planFlat, planKernel, planRom } from './index.ts';
import type { BootErrorCode, BootPlan } from './index.ts';

const MiB = 2 ** 20;
const environment = { memoryMap: pcMemoryMap(64 * MiB), rsdpAddress: 0xe_0000 };

function refused(code: BootErrorCode, run: () => unknown): void {
  assert.throws(
    run,
    (error) =>
      error instanceof BootError && error.code === code && !error.message.includes('\n') && error.hint !== '',
  );
}

function bytesAt(plan: BootPlan, address: number): DataView {
  const write = plan.writes.find((w) => w.address <= address && address < w.address + w.bytes.length);
  assert.ok(write, `nothing is written at 0x${address.toString(16)}`);
  return new DataView(write.bytes.buffer, write.bytes.byteOffset + address - write.address);
}

function bzImage({ long = true, sectors = 4, bodyBytes = 4096, version = 0x20f } = {}): Uint8Array {
  const setupBytes = (sectors + 1) * 512;
  const image = new Uint8Array(setupBytes + bodyBytes);
  const view = new DataView(image.buffer);
  view.setUint8(0x1f1, sectors);
  view.setUint32(0x1f4, bodyBytes / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x66eb, true);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, version, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x214, 0x10_0000, true);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint16(0x236, long ? 1 : 0, true);
  view.setUint32(0x238, 2047, true);
  view.setUint32(0x260, 8 * MiB, true);
  image.fill(0x90, setupBytes);
  return image;
}

function elf64(note: boolean): Uint8Array {
  const image = new Uint8Array(0x200);
  const view = new DataView(image.buffer);
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(18, 62, true);
  view.setBigUint64(24, 0xffff_ffff_8100_0000n, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, note ? 2 : 1, true);
  const header = (
    at: number,
    fields: { type: number; offset: number; physical: number; file: number; memory: number },
  ): void => {
    view.setUint32(at, fields.type, true);
    view.setBigUint64(at + 8, BigInt(fields.offset), true);
    view.setBigUint64(at + 24, BigInt(fields.physical), true);
    view.setBigUint64(at + 32, BigInt(fields.file), true);
    view.setBigUint64(at + 40, BigInt(fields.memory), true);
  };
  header(64, { type: 1, offset: 0x180, physical: 16 * MiB, file: 0x80, memory: 0x4000 });
  header(120, { type: 4, offset: 0x100, physical: 0, file: 24, memory: 24 });
  view.setUint32(0x100, 4, true);
  view.setUint32(0x104, 4, true);
  view.setUint32(0x108, 18, true);
  image.set([0x58, 0x65, 0x6e, 0], 0x10c);
  view.setUint32(0x110, 0x100_0040, true);
  return image;
}

describe('bzImage', () => {
  test('64-bit protocol: long mode with identity pages, zero page in RSI, initrd high', () => {
    const initrd = new Uint8Array(5000).fill(7);
    const plan = planKernel(
      { kernel: bzImage(), initrd, commandLine: 'console=ttyS0', longMode: true },
      environment,
    );
    assert.equal(plan.format, 'bzimage-64');
    assert.equal(plan.cpu?.rip, MiB + 0x200);
    const zeroPage = plan.cpu.gpr.rsi ?? 0;
    assert.equal(bytesAt(plan, zeroPage + 0x218).getUint32(0, true), 64 * MiB - 8192);
    assert.equal(bytesAt(plan, zeroPage + 0x21c).getUint32(0, true), 5000);
    assert.equal(bytesAt(plan, zeroPage + 0x1e8).getUint8(0), environment.memoryMap.length);
    assert.equal(bytesAt(plan, zeroPage + 0x70).getUint32(0, true), 0xe_0000);
    const commandLine = bytesAt(plan, bytesAt(plan, zeroPage + 0x228).getUint32(0, true));
    assert.equal(commandLine.getUint8(12), '0'.charCodeAt(0));
    assert.equal(commandLine.getUint8(13), 0);
    assert.equal(bytesAt(plan, plan.cpu.cr3 ?? 0).getUint32(0, true) & 3, 3);
  });
  test('32-bit protocol where the processor or the kernel has no long mode', () => {
    assert.equal(planKernel({ kernel: bzImage(), longMode: false }, environment).format, 'bzimage-32');
    assert.equal(
      planKernel({ kernel: bzImage({ long: false }), longMode: true }, environment).format,
      'bzimage-32',
    );
  });
  test('bad kernels are refused by name', () => {
    refused('KERNEL_TRUNCATED', () =>
      planKernel({ kernel: bzImage().subarray(0, 4000), longMode: true }, environment),
    );
    refused('KERNEL_UNSUPPORTED', () =>
      planKernel({ kernel: bzImage({ version: 0x200 }), longMode: true }, environment),
    );
    refused('MEMORY_TOO_SMALL', () =>
      planKernel({ kernel: bzImage(), longMode: true }, { memoryMap: pcMemoryMap(4 * MiB) }),
    );
    refused('MEMORY_TOO_SMALL', () =>
      planKernel({ kernel: bzImage(), initrd: new Uint8Array(60 * MiB), longMode: true }, environment),
    );
    refused('COMMAND_LINE_TOO_LONG', () =>
      planKernel({ kernel: bzImage(), commandLine: 'x'.repeat(3000), longMode: true }, environment),
    );
    refused('NOT_A_KERNEL', () =>
      planKernel(
        { kernel: new TextEncoder().encode('#!/bin/sh\n'.repeat(100)), longMode: true },
        environment,
      ),
    );
    refused('NOT_A_KERNEL', () => planKernel({ kernel: new Uint8Array(0), longMode: true }, environment));
  });
});

describe('ELF', () => {
  test('PVH: entry from the note, start info in RBX', () => {
    const plan = planKernel(
      { kernel: elf64(true), initrd: new Uint8Array(100), longMode: true },
      environment,
    );
    assert.equal(plan.format, 'pvh');
    assert.equal(plan.cpu?.rip, 0x100_0040);
    const info = plan.cpu.gpr.rbx ?? 0;
    assert.equal(bytesAt(plan, info).getUint32(0, true), 0x336e_c578);
    const modules = bytesAt(plan, info + 16).getUint32(0, true);
    assert.equal(bytesAt(plan, modules + 8).getUint32(0, true), 100);
    assert.equal(bytesAt(plan, info + 48).getUint32(0, true), environment.memoryMap.length);
  });
  test('refused without a note, cut short, or with a range outside memory', () => {
    refused('NOT_A_KERNEL', () => planKernel({ kernel: elf64(false), longMode: true }, environment));
    refused('KERNEL_TRUNCATED', () =>
      planKernel({ kernel: elf64(true).subarray(0, 0x1a0), longMode: true }, environment),
    );
    refused('MEMORY_TOO_SMALL', () =>
      planKernel({ kernel: elf64(true), longMode: true }, { memoryMap: pcMemoryMap(8 * MiB) }),
    );
  });
});

describe('others', () => {
  test('multiboot by load addresses', () => {
    const image = new Uint8Array(1024);
    const view = new DataView(image.buffer);
    const flags = 0x1_0003;
    view.setUint32(64, 0x1bad_b002, true);
    view.setUint32(68, flags, true);
    view.setUint32(72, -(0x1bad_b002 + flags) >>> 0, true);
    [MiB + 64, MiB, 0, MiB + 4096, MiB + 96].forEach((value, i) => view.setUint32(76 + i * 4, value, true));
    const plan = planKernel({ kernel: image, commandLine: 'a b', longMode: false }, environment);
    assert.equal(plan.format, 'multiboot');
    assert.equal(plan.cpu?.rip, MiB + 96);
    assert.equal(plan.cpu.gpr.rax, 0x2bad_b002);
    const info = plan.cpu.gpr.rbx ?? 0;
    assert.equal(bytesAt(plan, info + 8).getUint32(0, true), 63 * 1024);
    // The first word is the kernel's name.
    const commandLine = bytesAt(plan, bytesAt(plan, info + 16).getUint32(0, true));
    assert.equal(
      String.fromCharCode(...new Uint8Array(commandLine.buffer, commandLine.byteOffset, 11)),
      'kernel a b\0',
    );
    // Below 1 MiB too, but not where the BIOS data area or the loader's own tables are.
    const below = (address: number): BootPlan => {
      [address + 64, address, 0, 0, address + 96].forEach((value, i) => {
        view.setUint32(76 + i * 4, value, true);
      });
      return planKernel({ kernel: image, longMode: false }, environment);
    };
    assert.equal(below(0x7c00).cpu?.rip, 0x7c60);
    assert.equal(bytesAt(below(0x7c00), 0x7c40).getUint32(0, true), 0x1bad_b002);
    const initrd = new Uint8Array(5000);
    const withModule = planKernel({ kernel: image, initrd, longMode: false }, environment);
    const module = bytesAt(withModule, bytesAt(withModule, info + 24).getUint32(0, true)).getUint32(0, true);
    assert.ok(module >= MiB);
    for (const address of [0x400, 0x8_fd00, 0x9_0000, 0xf_0000])
      refused('KERNEL_UNSUPPORTED', () => below(address));
    [MiB + 64, MiB, 0, MiB + 4096, MiB + 96].forEach((value, i) => {
      view.setUint32(76 + i * 4, value, true);
    });
    refused('KERNEL_TRUNCATED', () =>
      planKernel({ kernel: image.subarray(0, 90), longMode: false }, environment),
    );
  });
  test('an image whose program is its real-mode code is refused', () => {
    const image = bzImage();
    new DataView(image.buffer).setUint32(0x214, 0, true);
    refused('KERNEL_UNSUPPORTED', () => planKernel({ kernel: image, longMode: true }, environment));
  });
  test('every direct start leaves a BIOS data area and interrupt vectors', () => {
    for (const plan of [
      planKernel({ kernel: bzImage(), longMode: true }, environment),
      planKernel({ kernel: elf64(true), longMode: true }, environment),
      planFlat(new Uint8Array(512), MiB, environment),
    ]) {
      const extended = bytesAt(plan, 0x40e).getUint16(0, true) << 4;
      assert.equal(extended, environment.memoryMap[0]?.sizeBytes, 'where conventional memory ends');
      assert.equal(bytesAt(plan, 0x413).getUint16(0, true), extended / 1024);
      assert.equal(bytesAt(plan, extended).getUint8(0), 1);
      // Each vector ends in an IRET; calls of the BIOS set CF in the flags that it pops.
      for (const [vector, first] of [
        [0x15, 0x55],
        [0x08, 0xcf],
      ] as const) {
        const entry = bytesAt(plan, vector * 4);
        const at = entry.getUint16(0, true) + (entry.getUint16(2, true) << 4);
        assert.equal(bytesAt(plan, at).getUint8(0), first);
      }
    }
  });
  test('boot sector, flat image and ROM', () => {
    const sector = new Uint8Array(512);
    refused('NOT_A_KERNEL', () => planBootSector(sector));
    sector.set([0x55, 0xaa], 510);
    assert.equal(planBootSector(sector).cpu?.rip, 0x7c00);
    assert.equal(planFlat(sector, MiB, environment).cpu?.rip, MiB);
    refused('MEMORY_TOO_SMALL', () => planFlat(sector, 0x8000, environment));
    assert.equal(planRom(new Uint8Array(65536)).rom?.length, 65536);
    refused('NOT_A_KERNEL', () => planRom(sector));
  });
});

test('an ELF file of notes alone is refused before it fills the memory', () => {
  const image = new Uint8Array(52 + 32 + 12 * 5000);
  const view = new DataView(image.buffer);
  image.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(18, 3, true);
  view.setUint32(28, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 1, true);
  view.setUint32(52, 4, true); // PT_NOTE
  view.setUint32(52 + 4, 84, true);
  view.setUint32(52 + 16, 12 * 5000, true);
  refused('KERNEL_UNSUPPORTED', () =>
    planKernel({ kernel: image, commandLine: '', longMode: true }, environment),
  );
});
