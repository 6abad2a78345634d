/** Two programs for the guest of a container that no shell can do, as ELF files for x86-64 Linux without a library. */
import { GenerationPort, generationPort } from '@revenant/emulator';
import { Assembler } from '../../../../../images/builtin/assembler.ts';

const base = 0x40_0000;
const headerBytes = 64 + 56;

/** Of the system calls (Linux, arch/x86/entry/syscalls/syscall_64.tbl). */
const Call = { execve: 59, exit: 60, setuid: 105, setgid: 106, setgroups: 116, ioperm: 173 } as const;

/** A file with one segment that is read and executed (System V ABI, "ELF header" and "Program header"). */
function elf(program: (code: Assembler) => void): Uint8Array {
  const code = new Assembler(base + headerBytes);
  program(code);
  const bytes = code.finish();
  const file = new Uint8Array(headerBytes + bytes.length);
  const view = new DataView(file.buffer);
  // 64-bit, little-endian, version 1; an executable, for x86-64, version 1.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint32(16, 2 | (62 << 16), true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(base + headerBytes), true); // entry
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint32(52, 64 | (56 << 16), true); // size of this header, and of a program header
  view.setUint32(56, 1, true); // of which there is one
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 5, true); // PF_R | PF_X
  view.setBigUint64(80, BigInt(base), true); // virtual address
  view.setBigUint64(88, BigInt(base), true); // physical address
  view.setBigUint64(96, BigInt(file.length), true); // in the file
  view.setBigUint64(104, BigInt(file.length), true); // in memory
  view.setBigUint64(112, 4096n, true);
  file.set(bytes, headerBytes);
  return file;
}

function call(code: Assembler, number: number): void {
  code.emit(0xb8); // mov eax, number
  code.u32(number);
  code.emit(0x0f, 0x05); // syscall
}

function orFail(code: Assembler): void {
  code.emit(0x48, 0x85, 0xc0); // test rax, rax
  code.jump([0x0f, 0x85], 'fail', 32); // jnz fail
}

/** At `fail`: the program ends with a status. */
function fail(code: Assembler, status: number): void {
  code.label('fail');
  code.emit(0xbf); // mov edi, status
  code.u32(status);
  call(code, Call.exit);
}

/** At `number`: EAX becomes the decimal number at RSI, which goes behind it and a comma. Changes ECX. */
function readNumber(code: Assembler): void {
  code.label('number');
  code.emit(0x31, 0xc0); // xor eax, eax
  code.label('digit');
  code.emit(0x0f, 0xb6, 0x0e); // movzx ecx, byte [rsi]
  code.emit(0x83, 0xe9, 0x30); // sub ecx, '0'
  code.emit(0x83, 0xf9, 0x09); // cmp ecx, 9
  code.jump([0x77], 'other'); // ja other
  code.emit(0x6b, 0xc0, 0x0a); // imul eax, eax, 10
  code.emit(0x01, 0xc8); // add eax, ecx
  code.emit(0x48, 0xff, 0xc6); // inc rsi
  code.jump([0xeb], 'digit'); // jmp digit
  code.label('other');
  code.emit(0x83, 0xf9, 0xfc); // cmp ecx, ',' - '0'
  code.jump([0x75], 'done'); // jne done
  code.emit(0x48, 0xff, 0xc6); // inc rsi
  code.label('done');
  code.emit(0xc3); // ret
}

/** `as UID GID GROUP,… PROGRAM WORD…`: runs a program, by its path, as somebody else. Ends with 126 when that is not to be had. */
export const runAs = elf((code) => {
  code.emit(0x48, 0x89, 0xe3); // mov rbx, rsp: the count of words, then their addresses
  for (const [at, copy] of [
    [0x10, [0x41, 0x89, 0xc4]], // mov r12d, eax
    [0x18, [0x41, 0x89, 0xc5]], // mov r13d, eax
  ] as const) {
    code.emit(0x48, 0x8b, 0x73, at); // mov rsi, [rbx + at]
    code.jump([0xe8], 'number', 32); // call number
    code.emit(...copy);
  }
  code.emit(0x48, 0x8b, 0x73, 0x20); // mov rsi, [rbx + 20h]
  code.emit(0x31, 0xff); // xor edi, edi
  code.emit(0x48, 0x81, 0xec, 0x00, 0x02, 0x00, 0x00); // sub rsp, 512
  code.label('groups');
  code.emit(0x80, 0x3e, 0x00); // cmp byte [rsi], 0
  code.jump([0x74], 'set'); // je set
  code.emit(0x81, 0xff, 0x80, 0x00, 0x00, 0x00); // cmp edi, 128
  code.jump([0x74], 'set'); // je set
  code.jump([0xe8], 'number', 32); // call number
  code.emit(0x89, 0x04, 0xbc); // mov [rsp + rdi * 4], eax
  code.emit(0xff, 0xc7); // inc edi
  code.jump([0xeb], 'groups'); // jmp groups
  code.label('set');
  code.emit(0x48, 0x89, 0xe6); // mov rsi, rsp
  call(code, Call.setgroups);
  orFail(code);
  code.emit(0x44, 0x89, 0xef); // mov edi, r13d
  call(code, Call.setgid);
  orFail(code);
  code.emit(0x44, 0x89, 0xe7); // mov edi, r12d
  call(code, Call.setuid);
  orFail(code);
  code.emit(0x48, 0x8d, 0x73, 0x28); // lea rsi, [rbx + 28h]
  code.emit(0x48, 0x8b, 0x3e); // mov rdi, [rsi]
  code.emit(0x48, 0x8b, 0x03); // mov rax, [rbx]
  code.emit(0x48, 0x8d, 0x54, 0xc3, 0x10); // lea rdx, [rbx + rax * 8 + 10h]: the environment
  call(code, Call.execve);
  fail(code, 126);
  readNumber(code);
});

/** `off STATUS`: switches the machine off with an exit status, by the port `GenerationPort.powerOff`. Ends with 1 where there is none. */
export const powerOff = elf((code) => {
  code.emit(0x48, 0x8b, 0x74, 0x24, 0x10); // mov rsi, [rsp + 10h]
  code.jump([0xe8], 'number', 32); // call number
  code.emit(0x89, 0xc3); // mov ebx, eax
  code.emit(0xbf); // mov edi, the first port
  code.u32(generationPort + GenerationPort.powerOff);
  code.emit(0xbe, 4, 0, 0, 0); // mov esi, 4 of them
  code.emit(0xba, 1, 0, 0, 0); // mov edx, 1: on
  call(code, Call.ioperm);
  orFail(code);
  code.emit(0xba); // mov edx, the port
  code.u32(generationPort + GenerationPort.powerOff);
  code.emit(0xed); // in eax, dx
  code.emit(0x3d); // cmp eax, "RVNT"
  code.text('RVNT');
  code.jump([0x0f, 0x85], 'fail', 32); // jne fail
  code.emit(0x89, 0xd8); // mov eax, ebx
  code.emit(0xef); // out dx, eax
  fail(code, 1);
  readNumber(code);
});
