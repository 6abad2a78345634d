/**
 * Bare-metal guests of this folder: NAME.s is assembled to a flat multiboot image that writes to port 0xE9 what it saw,
 * NAME.txt is what it has to see by the manual. The same image runs in QEMU, where lines that QEMU's TCG is known to
 * get wrong are left out (see `qemuDeviations`).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const folder = import.meta.dirname;
const buildFolder = join(folder, '../../build/system');

/** Why guests can't be assembled here, or undefined. */
export function assemblerMissing(): string | undefined {
  return spawnSync('as', ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'as is missing: apt-get install binutils';
}

export function compilerMissing(): string | undefined {
  return spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0
    ? assemblerMissing()
    : 'gcc is missing: apt-get install gcc binutils';
}

export function qemuMissing(): string | undefined {
  return spawnSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'qemu-system-x86_64 is missing: apt-get install qemu-system-x86';
}

function tool(command: string, options: string[]): void {
  const run = spawnSync(command, options, { encoding: 'utf8' });
  if (run.status !== 0)
    throw new Error(`${command} ${options.join(' ')}: ${run.error?.message ?? run.stderr}`);
}

/** Path of the guest's flat multiboot image. */
export function assembleGuest(name: string): string {
  mkdirSync(buildFolder, { recursive: true });
  const path = join(buildFolder, name);
  const bits = name.endsWith('64') ? '64' : '32';
  tool('as', [`--${bits}`, '-I', folder, '-o', `${path}.o`, join(folder, `${name}.s`)]);
  tool('ld', [
    '-m',
    bits === '64' ? 'elf_x86_64' : 'elf_i386',
    '-Ttext',
    '0x100000',
    '--oformat',
    'binary',
    '-o',
    `${path}.bin`,
    `${path}.o`,
  ]);
  return `${path}.bin`;
}

/** What the guest has to print. */
export function expectedOutput(name: string): string[] {
  return lines(readFileSync(join(folder, `${name}.txt`), 'latin1'));
}

export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** What the guest prints in QEMU, with so many processors; ends after `timeoutMs` at the latest. */
export function runInQemu(name: string, image: string, { timeoutMs = 300_000, cpuCount = 1 } = {}): string[] {
  const output = join(buildFolder, `${name}.${process.pid}.qemu`);
  const options = [
    '-accel',
    'tcg,thread=single',
    '-cpu',
    'max',
    '-m',
    '64',
    '-display',
    'none',
    '-monitor',
    'none',
    '-serial',
    'none',
    '-net',
    'none',
    '-smp',
    String(cpuCount),
  ];
  options.push(
    '-kernel',
    image,
    '-debugcon',
    `file:${output}`,
    '-device',
    'isa-debug-exit,iobase=0xf4,iosize=1',
    '-no-reboot',
  );
  try {
    const run = spawnSync('qemu-system-x86_64', options, { encoding: 'utf8', timeout: timeoutMs });
    // isa-debug-exit: the guest's 0 gives status 1.
    if (run.status !== 1) throw new Error(`QEMU ended with ${run.signal ?? run.status}: ${run.stderr}`);
    return lines(readFileSync(output, 'latin1'));
  } finally {
    rmSync(output, { force: true });
  }
}

/** Tests whose line differs in QEMU 7.2's TCG, and what the manual says against it. */
export const qemuDeviations: Readonly<Record<string, string>> = {
  'execute-behind-mov-ss': 'no breakpoint right behind MOV SS (SDM Vol. 3A 6.8.3)',
  'data-mov-ss': 'a data breakpoint of MOV SS traps behind the next instruction (SDM Vol. 3A 6.8.3)',
  'dr6-ones': 'bit 12 of DR6 is 0 (SDM Vol. 3B 18.2.3)',
  'dr7-ones': 'bits 11, 12, 14 and 15 of DR7 are 0 (SDM Vol. 3B 18.2.4)',
  'smap-modify': 'a read-modify-write faults as a write (as processors do)',
  'smap-implicit': 'EFLAGS.AC does not help reads of descriptor tables (SDM Vol. 3A 4.6.1)',
  'global-kept': 'global translations stay over MOV to CR3 (SDM Vol. 3A 4.10.2.4); processors may drop them',
  'efer-reserved': 'WRMSR checks reserved bits (SDM Vol. 2, WRMSR)',
  'pat-type': 'WRMSR checks memory types (SDM Vol. 3A 12.12.2)',
  'fs-base': 'WRMSR checks bases (SDM Vol. 2, WRMSR)',
  'sysenter-eip-noncanonical': 'WRMSR checks addresses (SDM Vol. 2, WRMSR)',
  sysenter: 'not on AMD processors in IA-32e mode, which the CPU type is there',
  'sysenter-rsp': 'see sysenter',
  'sysenter-cs-selector': 'see sysenter',
  'sysenter-ss-selector': 'see sysenter',
  'sysenter-flags': 'see sysenter',
  'sysenter-null': 'see sysenter',
  'sysexit-null': 'see sysenter',
  'ud-np': 'EXT is set while an exception is delivered (SDM Vol. 3A 6.13)',
  'ud-null-selector': 'EXT is set while an exception is delivered (SDM Vol. 3A 6.13)',
  'ud-far-selector': 'EXT is set while an exception is delivered (SDM Vol. 3A 6.13)',
  'ud-data-selector': 'EXT is set while an exception is delivered (SDM Vol. 3A 6.13)',
  'ud-wrong-gate': 'EXT is set while an exception is delivered (SDM Vol. 3A 6.13)',
  'icebp-np': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  icebp: 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'icebp-step': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'icebp-behind-mov-ss': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'icebp-behind-watched': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'user-icebp-step': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'user-icebp-behind-mov-ss': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'user-icebp-behind-watched': 'INT1 is #DB (SDM Vol. 2, INT n/INTO/INT3/INT1)',
  'int3-behind-watched': 'a data breakpoint of MOV SS traps behind the next instruction (SDM Vol. 3A 6.8.3)',
  'lock-on-load': 'LOCK with a MOV is #UD (SDM Vol. 2, LOCK)',
  'mmx-not-available': 'EMMS with CR0.TS is #NM (SDM Vol. 2, EMMS)',
  'write-read-only': 'TCG does not check segment types on accesses (SDM Vol. 3A 5.5)',
  'write-code': 'TCG does not check segment types on accesses (SDM Vol. 3A 5.5)',
  'es-null-access': 'TCG does not check null selectors on accesses (SDM Vol. 3A 5.4.1)',
  'unknown-msr': 'TCG reads unknown MSRs as 0 (SDM Vol. 2, RDMSR: #GP)',
  'not-present-modify': 'a read-modify-write faults as a write (as processors do)',
  'large-reserved-bits': 'RSVD is set only together with P (SDM Vol. 3A 4.7)',
  'pae-reserved-bit': 'RSVD is set only together with P (SDM Vol. 3A 4.7)',
  'pae-nx-reserved': 'RSVD is set only together with P (SDM Vol. 3A 4.7)',
  'pae-pointer-reserved': 'reserved bits in a PDPTE make MOV to CR3 fault (SDM Vol. 3A 4.4.1)',
  'int-gate-too-far': 'the error code is vector * 8 + 2 in 64-bit mode as well (SDM Vol. 2, INT n)',
  'across-canonical': 'an access across the canonical border is #GP (SDM Vol. 1 3.3.7.1)',
  'stack-noncanonical': 'through RBP it is #SS (SDM Vol. 1 3.3.7.1)',
  'jump-noncanonical': 'the jump faults, not the fetch behind it (SDM Vol. 2, JMP)',
  'return-noncanonical': 'the return faults, not the fetch behind it (SDM Vol. 2, RET)',
  'iret-noncanonical': 'the return faults, not the fetch behind it (SDM Vol. 2, IRET)',
  'msr-noncanonical': 'WRMSR checks bases (SDM Vol. 2, WRMSR)',
  reserved: 'RSVD is set only together with P (SDM Vol. 3A 4.7)',
  'ring3-alignment': 'TCG has no alignment check (SDM Vol. 3A 6.15, #AC)',
};

const resumeFlag = 0x1_0000;

/** A line as it is compared with QEMU's: without RF, which QEMU does not set in the flags that a fault pushes (SDM Vol. 3B 17.3.1.1). */
function forQemu(line: string): string {
  return line.replace(
    /f=([0-9a-f]{8})$/,
    (_, digits: string) => `f=${(parseInt(digits, 16) & ~resumeFlag).toString(16).padStart(8, '0')}`,
  );
}

/** Lines of `expected` and QEMU's output that should be equal, side by side. */
export function comparableWithQemu(
  expected: readonly string[],
  qemu: readonly string[],
): { expected: string[]; qemu: string[] } {
  const keep = (line: string): boolean => qemuDeviations[line.split(' ')[0] ?? ''] === undefined;
  return { expected: expected.filter(keep).map(forQemu), qemu: qemu.filter(keep).map(forQemu) };
}
