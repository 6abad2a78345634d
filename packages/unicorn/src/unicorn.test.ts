/** The interface of Unicorn over this emulator: memory, registers, hooks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as uc from './index.ts';

const base = 0x10_0000;

function program(
  mode: number,
  hex: string,
  options: uc.ProcessorOptions = {},
): { mu: uc.Unicorn; end: number } {
  const mu = new uc.Unicorn(uc.UC_ARCH_X86, mode, { memoryBytes: 2 ** 24, ...options });
  const code = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  mu.mem_map(base, 0x2000);
  mu.mem_write(base, code);
  return { mu, end: base + code.length };
}

function fails(errno: number, call: () => void): void {
  assert.throws(call, (error: unknown) => error instanceof uc.UnicornError && error.errno === errno);
}

describe('memory', () => {
  const { mu } = program(uc.UC_MODE_64, '90');

  test('regions are cut where rights differ, and joined to nothing', () => {
    mu.mem_map(0x20_0000, 0x4000, uc.UC_PROT_READ);
    mu.mem_protect(0x20_1000, 0x1000, uc.UC_PROT_ALL);
    mu.mem_unmap(0x20_2000, 0x1000);
    assert.deepEqual(mu.mem_regions().slice(1), [
      { begin: 0x20_0000n, end: 0x20_0fffn, perms: uc.UC_PROT_READ },
      { begin: 0x20_1000n, end: 0x20_1fffn, perms: uc.UC_PROT_ALL },
      { begin: 0x20_3000n, end: 0x20_3fffn, perms: uc.UC_PROT_READ },
    ]);
  });

  test('what can not be done has its code', () => {
    fails(uc.UC_ERR_ARG, () => {
      mu.mem_map(1, 0x1000);
    });
    fails(uc.UC_ERR_ARG, () => {
      mu.mem_map(0x1000, 0);
    });
    fails(uc.UC_ERR_ARG, () => {
      mu.mem_map(0x1000, 0x1000, 8);
    });
    fails(uc.UC_ERR_ARG, () => {
      mu.mem_map(0x1000, 1.5);
    });
    fails(uc.UC_ERR_ARG, () => {
      mu.mem_map(0xffff_ffff_ffff_f000n, 0x2000);
    });
    fails(uc.UC_ERR_MAP, () => {
      mu.mem_map(base, 0x1000);
    });
    fails(uc.UC_ERR_NOMEM, () => {
      mu.mem_map(0x4000_0000, 2 ** 24);
    });
    fails(uc.UC_ERR_NOMEM, () => {
      mu.mem_unmap(0x20_2000, 0x1000);
    });
    fails(uc.UC_ERR_NOMEM, () => {
      mu.mem_protect(0x9000_0000, 0x1000, 1);
    });
    fails(uc.UC_ERR_READ_UNMAPPED, () => mu.mem_read(0x20_1ff0, 0x20));
    fails(uc.UC_ERR_WRITE_UNMAPPED, () => {
      mu.mem_write(0x20_1ff0, new Uint8Array(0x20).fill(1));
    });
    assert.deepEqual(mu.mem_read(0x20_1ff0, 16), new Uint8Array(16), 'nothing of a refused write is done');
  });

  test('memory that was unmapped comes back as zeros', () => {
    mu.mem_write(0x20_3000, [1, 2, 3]);
    mu.mem_unmap(0x20_3000, 0x1000);
    mu.mem_map(0x20_3000, 0x1000);
    assert.deepEqual(mu.mem_read(0x20_3000, 3), new Uint8Array(3));
  });

  test('pages anywhere in 64 bits, and those of the frames that they had taken', () => {
    const { mu: wide, end } = program(uc.UC_MODE_64, '488b04 25 00f0ffff 480301 488902'.replaceAll(' ', ''));
    const top = 0xffff_ffff_ffff_f000n;
    const middle = 0x7fff_0000_0000n;
    wide.mem_map(top, 0x1000);
    wide.mem_map(middle, 0x2000);
    wide.mem_write(top, [1, 0, 0, 0, 0, 0, 0, 0x10]);
    wide.mem_write(middle, [2]);
    // The frame of the page above lies here.
    for (const low of [0xffff_f000, 0xffff_e000, 0xffff_d000]) wide.mem_map(low, 0x1000);
    wide.mem_write(0xffff_f000, [9]);
    wide.reg_write(uc.UC_X86_REG_RCX, middle);
    wide.reg_write(uc.UC_X86_REG_RDX, middle + 0xffcn);
    wide.emu_start(base, end);
    assert.deepEqual([...wide.mem_read(middle + 0xffcn, 8)], [3, 0, 0, 0, 0, 0, 0, 0x10]);
    assert.equal(wide.mem_read(0xffff_f000, 1)[0], 9);
  });

  test('memory of a device calls back, with offset, size and value', () => {
    const { mu: device, end } = program(uc.UC_MODE_32, 'a1 10000040 66a3 22000040');
    const calls: string[] = [];
    device.mmio_map(
      0x4000_0000,
      0x1000,
      (_, offset, size) => {
        calls.push(`read ${String(offset)} ${String(size)}`);
        return 0x8765_4321;
      },
      undefined,
      (_, offset, size, value) => {
        calls.push(`write ${String(offset)} ${String(size)} ${value.toString(16)}`);
      },
    );
    device.emu_start(base, end);
    assert.deepEqual(calls, ['read 16 4', 'write 34 2 4321']);
    assert.equal(device.reg_read(uc.UC_X86_REG_EAX), 0x8765_4321);
  });
});

describe('registers', () => {
  const { mu } = program(uc.UC_MODE_64, '90');

  test('have the width of their names', () => {
    mu.reg_write(uc.UC_X86_REG_RAX, 0x1122_3344_5566_7788n);
    assert.equal(mu.reg_read(uc.UC_X86_REG_RAX), 0x1122_3344_5566_7788n);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EAX), 0x5566_7788);
    assert.equal(mu.reg_read(uc.UC_X86_REG_AH), 0x77);
    mu.reg_write(uc.UC_X86_REG_AH, 0xff);
    assert.equal(mu.reg_read(uc.UC_X86_REG_RAX), 0x1122_3344_5566_ff88n);
    mu.reg_write(uc.UC_X86_REG_EAX, -1);
    assert.equal(mu.reg_read(uc.UC_X86_REG_RAX), 0xffff_ffffn);
    assert.equal(mu.reg_read_i8(uc.UC_X86_REG_AL), -1);
    assert.deepEqual(mu.reg_read(uc.UC_X86_REG_RAX, 8), Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0));
    assert.deepEqual(mu.reg_read_batch([uc.UC_X86_REG_AX, uc.UC_X86_REG_R15]), [0xffff, 0n]);
    fails(uc.UC_ERR_ARG, () => mu.reg_read(9999));
    fails(uc.UC_ERR_ARG, () => {
      mu.reg_write(uc.UC_X86_REG_RAX, 0.5);
    });
    fails(uc.UC_ERR_ARG, () => {
      mu.reg_write_batch([uc.UC_X86_REG_RAX], []);
    });
  });

  test('vectors, the x87 stack, flags, system tables and MSRs', () => {
    mu.reg_write(uc.UC_X86_REG_XMM15, (1n << 127n) | 5n);
    assert.equal(mu.reg_read(uc.UC_X86_REG_XMM15), (1n << 127n) | 5n);
    mu.reg_write_double(uc.UC_X86_REG_XMM0, 0.1);
    assert.equal(mu.reg_read_double(uc.UC_X86_REG_XMM0), 0.1);
    mu.reg_write(uc.UC_X86_REG_ST0, 0x3fff_8000_0000_0000_0000n);
    assert.equal(mu.reg_read(uc.UC_X86_REG_FP0), 0x3fff_8000_0000_0000_0000n);
    assert.equal(mu.reg_read(uc.UC_X86_REG_FPTAG), 0xfffc);
    assert.equal(mu.reg_read(uc.UC_X86_REG_FPCW), 0x37f);
    mu.reg_write(uc.UC_X86_REG_EFLAGS, 0xcd5);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EFLAGS), 0xcd7);
    mu.reg_write(uc.UC_X86_REG_EFLAGS, 2);
    mu.reg_write(uc.UC_X86_REG_GDTR, { base: 0x1234_5678_9abcn, limit: 0xff });
    assert.deepEqual(mu.reg_read(uc.UC_X86_REG_GDTR), {
      selector: 0,
      base: 0x1234_5678_9abcn,
      limit: 0xff,
      flags: 0,
    });
    mu.reg_write(uc.UC_X86_REG_MSR, { rid: 0xc000_0100, value: 0x7777n });
    assert.equal(mu.reg_read(uc.UC_X86_REG_FS_BASE), 0x7777n);
    assert.equal(mu.reg_read(uc.UC_X86_REG_MSR, 0xc000_0100), 0x7777n);
    fails(uc.UC_ERR_ARG, () => mu.reg_read(uc.UC_X86_REG_MSR, 0x1234));
  });

  test('a segment is loaded by its descriptor', () => {
    const { mu: narrow, end } = program(uc.UC_MODE_32, '64a1 04000000');
    narrow.mem_map(0x3000, 0x2000);
    narrow.mem_write(0x3008, [0xff, 0xff, 0x00, 0x40, 0x00, 0x93, 0xcf, 0x00]);
    narrow.mem_write(0x4004, [0x78, 0x56, 0x34, 0x12]);
    narrow.reg_write(uc.UC_X86_REG_GDTR, { base: 0x3000n, limit: 0x1f });
    narrow.reg_write(uc.UC_X86_REG_FS, 8);
    assert.equal(narrow.reg_read(uc.UC_X86_REG_FS_BASE), 0x4000n);
    narrow.emu_start(base, end);
    assert.equal(narrow.reg_read(uc.UC_X86_REG_EAX), 0x1234_5678);
    fails(uc.UC_ERR_EXCEPTION, () => {
      narrow.reg_write(uc.UC_X86_REG_FS, 0x10);
    });
    fails(uc.UC_ERR_EXCEPTION, () => {
      narrow.reg_write(uc.UC_X86_REG_FS, 0x80);
    });
  });

  test('a context holds registers, and no memory', () => {
    const { mu: twice, end } = program(uc.UC_MODE_32, '40 a3 00101000');
    const context = twice.context_save();
    twice.emu_start(base, end);
    twice.context_restore(context);
    assert.equal(twice.reg_read(uc.UC_X86_REG_EAX), 0);
    assert.equal(twice.mem_read(base + 0x1000, 1)[0], 1);
  });
});

describe('running', () => {
  for (const engine of ['interpreter', 'translator'] as const)
    test(`a long loop, with memory, by the ${engine}`, () => {
      // MOV EAX, [RSI]; ADD EAX, ECX; MOV [RSI], EAX; DEC ECX; JNZ
      const { mu, end } = program(uc.UC_MODE_64, '8b06 01c8 8906 ffc9 75f6', { engine });
      mu.reg_write_batch([uc.UC_X86_REG_RSI, uc.UC_X86_REG_RCX], [base + 0x1000, 100_000]);
      mu.emu_start(base, end);
      assert.equal(mu.reg_read(uc.UC_X86_REG_EAX), 5_000_050_000 % 2 ** 32);
      mu.reg_write_batch([uc.UC_X86_REG_RAX, uc.UC_X86_REG_RCX], [0, 100_000]);
      mu.emu_start(base, end, 0, 5 * 99_999 + 3);
      assert.equal(mu.reg_read(uc.UC_X86_REG_ECX), 1, 'the limit is exact');
      assert.equal(mu.reg_read(uc.UC_X86_REG_RIP), BigInt(base + 6));
    });

  test('code that a hook or the program itself changes is executed as it is then', () => {
    // MOV BYTE [RIP+1], 5; MOV AL, 1
    const { mu, end } = program(uc.UC_MODE_64, 'c605 01000000 05 b001');
    mu.emu_start(base, end);
    assert.equal(mu.reg_read(uc.UC_X86_REG_AL), 5);
    mu.mem_write(base + 8, [7]);
    mu.emu_start(base + 7, end);
    assert.equal(mu.reg_read(uc.UC_X86_REG_AL), 7);
  });

  test('a run ends by its time, and says so', () => {
    const { mu } = program(uc.UC_MODE_64, 'ebfe');
    mu.emu_start(base, 0, 20_000);
    assert.equal(mu.query(uc.UC_QUERY_TIMEOUT), 1);
    assert.equal(mu.reg_read(uc.UC_X86_REG_RIP), BigInt(base));
    mu.hook_add(uc.UC_HOOK_CODE, () => undefined);
    mu.emu_start(base, 0, 20_000);
    assert.equal(mu.query(uc.UC_QUERY_TIMEOUT), 1);
    mu.emu_start(base, 0, 0, 10);
    assert.equal(mu.query(uc.UC_QUERY_TIMEOUT), 0);
  });

  test('paging of the program itself', () => {
    // Page directory at 1000h, table at 2000h: linear 400000h is physical 3000h; the code is mapped to itself.
    const { mu, end } = program(uc.UC_MODE_32, 'a1 08004000 a3 00105000');
    mu.mem_map(0x1000, 0x3000);
    const entry = (at: number, value: number): void => {
      mu.mem_write(at, new Uint8Array(Uint32Array.of(value).buffer));
    };
    entry(0x1000, 0x83);
    entry(0x1004, 0x2003);
    entry(0x2000, 0x3003);
    mu.reg_write(uc.UC_X86_REG_CR4, 0x610);
    entry(0x3008, 0xcafe);
    mu.reg_write(uc.UC_X86_REG_CR3, 0x1000);
    mu.reg_write(uc.UC_X86_REG_CR0, 0x8000_0011);
    const interrupts: number[] = [];
    const interrupted: uc.InterruptCallback = (handle, number) => {
      interrupts.push(number);
      handle.emu_stop();
    };
    mu.hook_add(uc.UC_HOOK_INTR, interrupted);
    mu.emu_start(base, end);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EAX), 0xcafe);
    assert.deepEqual(interrupts, [14], 'a page that the program did not map is its own fault');
    assert.equal(mu.reg_read(uc.UC_X86_REG_CR2), 0x50_1000n);
  });

  test('what can not be run has its code', () => {
    fails(uc.UC_ERR_ARCH, () => new uc.Unicorn(uc.UC_ARCH_ARM, 0));
    fails(uc.UC_ERR_MODE, () => new uc.Unicorn(uc.UC_ARCH_X86, 0));
    fails(uc.UC_ERR_MODE, () => new uc.Unicorn(uc.UC_ARCH_X86, uc.UC_MODE_64 | uc.UC_MODE_BIG_ENDIAN));
    const { mu, end } = program(uc.UC_MODE_64, '90');
    fails(uc.UC_ERR_ARG, () => {
      mu.emu_start(base, end, -1);
    });
    fails(uc.UC_ERR_ARG, () => mu.query(99));
    mu.hook_add(uc.UC_HOOK_CODE, () => {
      mu.emu_start(base, end);
    });
    fails(uc.UC_ERR_ARG, () => {
      mu.emu_start(base, end);
    });
    mu.close();
    fails(uc.UC_ERR_HANDLE, () => mu.mem_regions());
  });
});

describe('hooks', () => {
  test('of code in a range, and of one that is deleted', () => {
    const { mu, end } = program(uc.UC_MODE_64, '90 90 90 90');
    const seen: bigint[] = [];
    const note: uc.CodeCallback = (_, address, size, data) => {
      seen.push(address * 10n + BigInt(size));
      assert.equal(data, 'mine');
    };
    const hook = mu.hook_add(uc.UC_HOOK_CODE, note, 'mine', base + 1, base + 2);
    mu.emu_start(base, end);
    mu.hook_del(hook);
    mu.emu_start(base, end);
    assert.deepEqual(seen, [BigInt(base + 1) * 10n + 1n, BigInt(base + 2) * 10n + 1n]);
    fails(uc.UC_ERR_ARG, () => {
      mu.hook_del(hook);
    });
    fails(uc.UC_ERR_HOOK, () => mu.hook_add(uc.UC_HOOK_TCG_OPCODE, () => undefined));
    fails(uc.UC_ERR_HOOK, () =>
      mu.hook_add(uc.UC_HOOK_INSN, () => undefined, undefined, 1, 0, uc.UC_X86_INS_ADD),
    );
  });

  test('of memory: only in their range, stopping behind the instruction, with what they change', () => {
    // MOV EAX, [101000h]; MOV EBX, [101800h]; NOP
    const { mu, end } = program(uc.UC_MODE_32, 'a1 00101000 8b1d 00181000 90');
    mu.mem_write(base + 0x1800, [1]);
    const seen: string[] = [];
    const note: uc.MemoryCallback = (handle, type, address, size) => {
      seen.push(
        `${String(type)} ${address.toString(16)} ${String(size)} ${String(handle.reg_read(uc.UC_X86_REG_EIP))}`,
      );
      handle.mem_write(address, [42]);
      handle.emu_stop();
    };
    mu.hook_add(uc.UC_HOOK_MEM_READ, note, undefined, base + 0x1802, base + 0x1fff);
    mu.emu_start(base, end);
    assert.deepEqual(seen, [`${String(uc.UC_MEM_READ)} 101800 4 ${String(base + 5)}`]);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EBX), 42);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EIP), base + 11);
  });

  test('that write the instruction pointer go on there', () => {
    const { mu, end } = program(uc.UC_MODE_32, '40 40 40 a1 00101000 43');
    const jump: uc.CodeCallback = (handle, address) => {
      if (address === BigInt(base + 1)) handle.reg_write(uc.UC_X86_REG_EIP, base + 3);
    };
    mu.hook_add(uc.UC_HOOK_CODE, jump);
    const back: uc.MemoryCallback = (handle) => {
      handle.reg_write(uc.UC_X86_REG_EIP, end);
    };
    mu.hook_add(uc.UC_HOOK_MEM_READ, back);
    mu.emu_start(base, end);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EAX), 0);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EBX), 0);
  });

  test('that throw end the run with what they throw, and it can go on', () => {
    const { mu, end } = program(uc.UC_MODE_32, '40 a1 00101000 43');
    const hook = mu.hook_add(uc.UC_HOOK_MEM_READ, () => {
      throw new RangeError('from a hook');
    });
    assert.throws(() => {
      mu.emu_start(base, end);
    }, /from a hook/);
    mu.hook_del(hook);
    mu.emu_start(base, end);
    assert.equal(mu.reg_read(uc.UC_X86_REG_EBX), 1);
  });

  test('of system calls see the registers, and their results go on', () => {
    const { mu, end } = program(uc.UC_MODE_64, 'b8 27000000 0f05 4889c3');
    const call: uc.InstructionCallback = (handle) => {
      if (handle.reg_read(uc.UC_X86_REG_RAX) === 39n) handle.reg_write(uc.UC_X86_REG_RAX, 1234);
    };
    mu.hook_add(uc.UC_HOOK_INSN, call, undefined, 1, 0, uc.UC_X86_INS_SYSCALL);
    mu.emu_start(base, end);
    assert.equal(mu.reg_read(uc.UC_X86_REG_RBX), 1234n);
  });
});
