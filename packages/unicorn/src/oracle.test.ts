/** What hooks are told, in which order, and how runs end: ours and that of Debian's libunicorn, where libunicorn-dev and gcc are. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as uc from './index.ts';

const header = '/usr/include/unicorn/unicorn.h';
const missing = !existsSync(header)
  ? 'Debian has the oracle in libunicorn-dev'
  : spawnSync('gcc', ['--version']).error !== undefined
    ? 'needs gcc'
    : false;
const folder = mkdtempSync(join(tmpdir(), 'revenant-unicorn-'));
after(() => {
  rmSync(folder, { recursive: true });
});

interface Case {
  name: string;
  bits: 16 | 32 | 64;
  /** Letters of oracle.c. */
  hooks: string;
  count?: number;
  until: number;
  code: string;
  /** A difference that the README tells of: lines that are compared are those that this lets through. */
  compared?: (line: string) => boolean;
}

/** At the end of a run by an error, and inside of hooks of memory, Unicorn 2.0.1 tells the address of the block. */
const withoutPointer = (line: string): boolean => !line.startsWith('end');

// prettier-ignore
const cases: readonly Case[] = [
  { name: 'increments and decrements', bits: 32, hooks: 'cb', until: 0x1002, code: '414a' },
  { name: 'a loop', bits: 64, hooks: 'cb', until: 0x100d, code: '31c083f8037405ffc0ebf7909090' },
  { name: 'calls and returns', bits: 64, hooks: 'cbm', until: 0x100e, code: 'e802000000eb0748ffc0c390909090' },
  {
    name: 'memory, of all sizes', bits: 64, hooks: 'm', until: 0x1019,
    code: '50488b06488907ff378f060f10060f1107a4668947ff480106',
  },
  { name: 'values that are written', bits: 32, hooks: 'm', until: 0x100f, code: 'b84433221189076689470488470850' },
  { name: 'a limit of instructions', bits: 64, hooks: 'c', count: 2, until: 0x1004, code: '90909090' },
  { name: 'repetitions count as instructions', bits: 64, hooks: '-', count: 3, until: 0x1006, code: '90f3a4909090' },
  { name: 'nothing, when the end is the beginning', bits: 64, hooks: 'c', until: 0x1000, code: '9090' },
  { name: 'a read of unmapped memory', bits: 64, hooks: 'r', until: 0x100a, code: '90488b04250040000090', compared: withoutPointer },
  { name: 'a write to unmapped memory', bits: 64, hooks: 'r', until: 0x100d, code: 'b8443322118904250240000090', compared: withoutPointer },
  { name: 'memory that a hook maps', bits: 64, hooks: 'M', until: 0x100a, code: '90488b04250040000090' },
  { name: 'a jump to unmapped memory', bits: 64, hooks: 'r', until: 0x2000, code: 'b800500000ffe0' },
  { name: 'a jump to memory that a hook maps', bits: 64, hooks: 'M', until: 0x5004, code: 'b800500000ffe0' },
  { name: 'an end that is not mapped', bits: 64, hooks: 'r', until: 0x5000, code: 'b800500000ffe0' },
  { name: 'a write that is not allowed', bits: 64, hooks: 'r', until: 0x1008, code: '89042502a0000090' },
  { name: 'a read that is not allowed', bits: 64, hooks: 'r', until: 0x1008, code: '8b042502b0000090' },
  { name: 'a jump that is not allowed', bits: 64, hooks: 'r', until: 0x1007, code: 'b800800000ffe0' },
  { name: 'an access over the end of the memory', bits: 64, hooks: 'r', until: 0x1009, code: '488b0425fc2f000090' },
  { name: 'INT', bits: 32, hooks: 'i', until: 0x1003, code: 'cd8090' },
  { name: 'INT without a hook', bits: 32, hooks: '-', until: 0x1003, code: 'cd8090' },
  { name: 'INT3', bits: 32, hooks: 'i', until: 0x1002, code: 'cc90' },
  { name: 'a division by zero', bits: 32, hooks: 'i', until: 0x1007, code: '31d231c9f7f190' },
  { name: 'a division by zero without a hook', bits: 32, hooks: '-', until: 0x1007, code: '31d231c9f7f190' },
  { name: 'an undefined instruction', bits: 32, hooks: 'ui', until: 0x1002, code: '0f0b' },
  { name: 'HLT', bits: 32, hooks: 'i', until: 0x1003, code: '90f490' },
  { name: 'IN, OUT, CPUID', bits: 32, hooks: 'p', until: 0x1007, code: 'e43fe6460fa290' },
  { name: 'IN and OUT of 32 bits', bits: 32, hooks: 'p', until: 0x1004, code: 'e53fe746' },
  { name: 'IN without a hook', bits: 32, hooks: '-', until: 0x1003, code: 'e43f90' },
  { name: 'SYSCALL', bits: 64, hooks: 'p', until: 0x1003, code: '0f0590' },
  { name: 'SYSCALL without a hook', bits: 64, hooks: 'ui', until: 0x1003, code: '0f0590' },
  { name: 'real mode', bits: 16, hooks: 'c', until: 0x1006, code: 'b834128ed890' },
  { name: 'an interrupt in real mode', bits: 16, hooks: 'i', until: 0x1003, code: 'cd2190' },
  { name: 'OUT in real mode', bits: 16, hooks: 'p', until: 0x1003, code: 'e74690' },
];

const hex = (value: number | bigint): string => value.toString(16);

/** The lines of oracle.c by our own. */
function ours({ bits, hooks, count = 0, until, code }: Case): string[] {
  const lines: string[] = [];
  const mu = new uc.Unicorn(
    uc.UC_ARCH_X86,
    bits === 64 ? uc.UC_MODE_64 : bits === 32 ? uc.UC_MODE_32 : uc.UC_MODE_16,
    {
      memoryBytes: 2 ** 24,
    },
  );
  const wide = (register: number, narrow: number): string =>
    hex(mu.reg_read(bits === 64 ? register : narrow) as number);
  const pointer = (): string => wide(uc.UC_X86_REG_RIP, uc.UC_X86_REG_EIP);
  mu.mem_map(0x1000, 0x2000);
  mu.mem_map(0x8000, 0x1000, uc.UC_PROT_READ | uc.UC_PROT_WRITE);
  mu.mem_map(0xa000, 0x1000, uc.UC_PROT_READ);
  mu.mem_map(0xb000, 0x1000, uc.UC_PROT_WRITE);
  mu.mem_write(0x1000, Buffer.from(code, 'hex'));
  mu.reg_write_batch(
    [uc.UC_X86_REG_RSP, uc.UC_X86_REG_RDI, uc.UC_X86_REG_RSI, uc.UC_X86_REG_RCX],
    [0x8800, 0x8100, 0x8200, 3],
  );
  addHooks(mu, hooks, lines, pointer);
  let error = uc.UC_ERR_OK as number;
  try {
    mu.emu_start(0x1000, until, 0, count);
  } catch (thrown) {
    assert.ok(thrown instanceof uc.UnicornError, String(thrown));
    error = thrown.errno;
  }
  assert.equal(mu.errno(), error);
  const registers = ['AX', 'CX', 'DX', 'BX', 'SP', 'SI', 'DI'].map((name) => {
    const numbers = uc as unknown as Record<string, number>;
    return wide(numbers[`UC_X86_REG_R${name}`] as number, numbers[`UC_X86_REG_E${name}`] as number);
  });
  const flags = hex(mu.reg_read(uc.UC_X86_REG_EFLAGS) as number);
  lines.push(`end ${String(error)} ${registers.join(' ')} flags ${flags} pc ${pointer()}`);
  return lines;
}

function addHooks(mu: uc.Unicorn, hooks: string, lines: string[], pointer: () => string): void {
  const on = (letter: string, type: number, callback: uc.HookCallback, instruction = 0): void => {
    if (hooks.includes(letter)) mu.hook_add(type, callback, undefined, 1, 0, instruction);
  };
  const code =
    (kind: string): uc.CodeCallback =>
    (_, address, size) =>
      lines.push(`${kind} ${hex(address)} ${String(size)}`);
  on('c', uc.UC_HOOK_CODE, code('code'));
  on('b', uc.UC_HOOK_BLOCK, code('block'));
  const memory: uc.MemoryCallback = (_, type, address, size, value) => {
    lines.push(
      `memory ${String(type)} ${hex(address)} ${String(size)} ${type === uc.UC_MEM_WRITE ? hex(value) : '0'}`,
    );
  };
  on('m', uc.UC_HOOK_MEM_VALID | uc.UC_HOOK_MEM_READ_AFTER, memory);
  const refuse: uc.MemoryCallback = (_, type, address) => {
    lines.push(`refused ${String(type)} ${hex(address)}`);
    return false;
  };
  on('r', uc.UC_HOOK_MEM_INVALID, refuse);
  const map: uc.MemoryCallback = (_, type, address) => {
    lines.push(`mapped ${String(type)} ${hex(address)}`);
    mu.mem_map(address & ~0xfffn, 0x1000);
    return true;
  };
  on('M', uc.UC_HOOK_MEM_INVALID, map);
  const interrupt: uc.InterruptCallback = (_, number) => {
    lines.push(`interrupt ${String(number)} ${pointer()}`);
    mu.emu_stop();
  };
  on('i', uc.UC_HOOK_INTR, interrupt);
  const say =
    (what: () => string, answer: boolean): uc.InstructionCallback =>
    () => {
      lines.push(what());
      return answer;
    };
  on(
    'u',
    uc.UC_HOOK_INSN_INVALID,
    say(() => `invalid ${pointer()}`, false),
  );
  const portIn: uc.InCallback = (_, port, size) => {
    lines.push(`in ${hex(port)} ${String(size)}`);
    return 0xf1f2f3f4;
  };
  on('p', uc.UC_HOOK_INSN, portIn, uc.UC_X86_INS_IN);
  const portOut: uc.OutCallback = (_, port, size, value) => {
    lines.push(`out ${hex(port)} ${String(size)} ${hex(value)}`);
  };
  on('p', uc.UC_HOOK_INSN, portOut, uc.UC_X86_INS_OUT);
  on(
    'p',
    uc.UC_HOOK_INSN,
    say(() => 'syscall', true),
    uc.UC_X86_INS_SYSCALL,
  );
  on(
    'p',
    uc.UC_HOOK_INSN,
    say(() => 'cpuid', true),
    uc.UC_X86_INS_CPUID,
  );
}

test('hooks and ends are those of libunicorn', { skip: missing }, async (t) => {
  const program = join(folder, 'oracle');
  execFileSync('gcc', [
    '-w',
    '-o',
    program,
    join(import.meta.dirname, '../test-support/oracle.c'),
    '-lunicorn',
  ]);
  const input = cases.map(
    ({ bits, hooks, count = 0, until, code }) =>
      `${String(bits)} ${hooks} ${String(count)} ${hex(until)} ${code}\n`,
  );
  const all = execFileSync(program, { input: input.join(''), encoding: 'utf8' }).split('\n');
  for (const each of cases) {
    const end = all.findIndex((line) => line.startsWith('end'));
    const expected = all.splice(0, end + 1);
    const { compared = () => true } = each;
    await t.test(each.name, () => {
      assert.deepEqual(ours(each).filter(compared), expected.filter(compared));
    });
  }
});
