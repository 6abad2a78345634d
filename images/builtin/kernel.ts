/**
 * The built-in guest: a multiboot kernel that goes to 64-bit mode and computes a chain, `step N digest`, on the first serial
 * port and on the screen, for ever. It needs no download; its digests are 64 bits wide (`builtinDigest`).
 */
import { Assembler } from './assembler.ts';

const loadAddress = 0x10_0000;
const pageTables = 0x20_0000;
const screen = 0xb_8000;
const multiplier = 0x9e37_79b9_7f4a_7c15n;
/** Rounds of mixing in one step; a step is about five times as many instructions. */
const rounds = 150_000;

const [multiplierHigh, multiplierLow] = [Number(multiplier >> 32n), Number(multiplier & 0xffff_ffffn)];

/** The digest of step `step`, 16 hexadecimal digits, from that of the step before (the first: 16 zeros). */
export function builtinDigest(previous: string, step: number): string {
  let high = parseInt(previous.slice(0, 8), 16) ^ Math.floor(step / 2 ** 32);
  let low = parseInt(previous.slice(8), 16) ^ (step | 0);
  // 64-bit arithmetic in halves of 32 and 16 bits: ten times faster than bigint.
  const [m0, m1] = [multiplierLow & 0xffff, multiplierLow >>> 16];
  for (let i = 0; i < rounds; i++) {
    const [l0, l1] = [low & 0xffff, low >>> 16];
    const p0 = l0 * m0;
    const p1 = l1 * m0 + Math.floor(p0 / 0x1_0000);
    const p2 = l0 * m1 + (p1 % 0x1_0000);
    const carry = l1 * m1 + Math.floor(p1 / 0x1_0000) + Math.floor(p2 / 0x1_0000);
    high = (carry + Math.imul(low, multiplierHigh) + Math.imul(high, multiplierLow)) | 0;
    low = ((p2 % 0x1_0000) << 16) | (p0 & 0xffff);
    low ^= (low >>> 29) | (high << 3);
    high ^= high >>> 29;
    low = (low + 1) | 0;
    if (low === 0) high = (high + 1) | 0;
  }
  const hex = (half: number): string => (half >>> 0).toString(16).padStart(8, '0');
  return hex(high) + hex(low);
}

/** Multiboot 1 header with load addresses (section 3.1). */
function header(a: Assembler): void {
  const flags = 0x1_0000;
  a.u32(0x1bad_b002);
  a.u32(flags);
  a.u32(-(0x1bad_b002 + flags));
  a.address('start'); // header_addr
  a.address('start'); // load_addr
  a.u32(0); // load_end_addr: the whole file
  a.u32(0); // bss_end_addr: none
  a.address('entry32');
}

/** 32-bit entry: identity-mapped 2 MiB pages, PAE, long mode, paging. SDM Vol. 3A 10.8.5. */
function enterLongMode(a: Assembler): void {
  a.label('entry32');
  a.emit(0xfa, 0xfc); // cli; cld
  // mov edi, pageTables
  a.emit(0xbf);
  a.u32(pageTables);
  // xor eax, eax; mov ecx, 3 * 1024
  a.emit(0x31, 0xc0, 0xb9);
  a.u32(0xc00);
  a.emit(0xf3, 0xab); // rep stosd
  // mov dword [PML4], PDPT | present | writable
  a.emit(0xc7, 0x05);
  a.u32(pageTables);
  a.u32(pageTables + 0x1003);
  // mov dword [PDPT], PD | present | writable
  a.emit(0xc7, 0x05);
  a.u32(pageTables + 0x1000);
  a.u32(pageTables + 0x2003);
  // mov edi, PD
  a.emit(0xbf);
  a.u32(pageTables + 0x2000);
  // mov eax, present | writable | large; mov ecx, 512
  a.emit(0xb8);
  a.u32(0x83);
  a.emit(0xb9);
  a.u32(512);
  a.label('fill');
  // mov [edi], eax; add edi, 8; add eax, 2 MiB
  a.emit(0x89, 0x07, 0x83, 0xc7, 0x08, 0x05);
  a.u32(0x20_0000);
  // dec ecx; jnz fill
  a.emit(0x49);
  a.jump([0x75], 'fill');
  // mov eax, PML4; mov cr3, eax
  a.emit(0xb8);
  a.u32(pageTables);
  a.emit(0x0f, 0x22, 0xd8);
  a.emit(0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0); // mov eax, cr4; or eax, PAE; mov cr4, eax
  // EFER |= LME
  a.emit(0xb9);
  a.u32(0xc000_0080);
  a.emit(0x0f, 0x32, 0x0d);
  a.u32(0x100);
  a.emit(0x0f, 0x30);
  // CR0 |= PG
  a.emit(0x0f, 0x20, 0xc0, 0x0d);
  a.u32(0x8000_0000);
  a.emit(0x0f, 0x22, 0xc0);
  // lgdt [gdtPointer]
  a.emit(0x0f, 0x01, 0x15);
  a.address('gdtPointer');
  // jmp 8:entry64
  a.emit(0xea);
  a.address('entry64');
  a.emit(0x08, 0x00);
  a.align(8);
  a.label('gdt');
  a.u64(0n);
  a.u64(0x00af_9b00_0000_ffffn);
  a.u64(0x00cf_9300_0000_ffffn);
  a.label('gdtPointer');
  a.emit(23, 0);
  a.address('gdt');
}

/** Data segments, a stack, and R15 = place on the screen in characters. */
function beginLongMode(a: Assembler): void {
  a.label('entry64');
  a.emit(0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0); // mov ax, 16; mov ds, es, ss
  // mov esp, 0x90000
  a.emit(0xbc);
  a.u32(0x9_0000);
  a.emit(0x45, 0x31, 0xff); // xor r15d, r15d
}

/** R12 = step, R13 = digest. */
function chain(a: Assembler): void {
  a.emit(0x45, 0x31, 0xe4, 0x45, 0x31, 0xed); // xor r12d, r12d; r13d
  // mov esi, banner; call puts
  a.emit(0xbe);
  a.address('banner');
  a.jump([0xe8], 'puts', 32);
  a.label('nextStep');
  a.emit(0x49, 0xff, 0xc4); // inc r12
  a.emit(0x4c, 0x89, 0xe8, 0x4c, 0x31, 0xe0); // mov rax, r13; xor rax, r12
  // mov ecx, rounds
  a.emit(0xb9);
  a.u32(rounds);
  // mov rbx, multiplier
  a.emit(0x48, 0xbb);
  a.u64(multiplier);
  a.label('round');
  a.emit(0x48, 0x0f, 0xaf, 0xc3); // imul rax, rbx
  a.emit(0x48, 0x89, 0xc2, 0x48, 0xc1, 0xea, 29, 0x48, 0x31, 0xd0); // mov rdx, rax; shr rdx, 29; xor rax, rdx
  // inc rax; dec ecx; jnz round
  a.emit(0x48, 0xff, 0xc0, 0xff, 0xc9);
  a.jump([0x75], 'round');
  a.emit(0x49, 0x89, 0xc5); // mov r13, rax
  // mov esi, "step "; call puts
  a.emit(0xbe);
  a.address('stepText');
  a.jump([0xe8], 'puts', 32);
  // mov rax, r12; call decimal
  a.emit(0x4c, 0x89, 0xe0);
  a.jump([0xe8], 'decimal', 32);
  // mov al, ' '; call putc
  a.emit(0xb0, 0x20);
  a.jump([0xe8], 'putc', 32);
  // mov rbx, r13; call hexadecimal
  a.emit(0x4c, 0x89, 0xeb);
  a.jump([0xe8], 'hexadecimal', 32);
  // mov al, '\r'; call putc; mov al, '\n'; call putc
  a.emit(0xb0, 0x0d);
  a.jump([0xe8], 'putc', 32);
  a.emit(0xb0, 0x0a);
  a.jump([0xe8], 'putc', 32);
  a.jump([0xe9], 'nextStep', 32);
}

function printing(a: Assembler): void {
  a.label('puts'); // the text at RSI, up to its NUL
  // lodsb; test al, al; jz
  a.emit(0xac, 0x84, 0xc0);
  a.jump([0x74], 'putsEnd');
  // call putc; jmp puts
  a.jump([0xe8], 'putc', 32);
  a.jump([0xeb], 'puts');
  a.label('putsEnd');
  a.emit(0xc3);

  a.label('decimal'); // RAX
  // mov ecx, 10; xor edx, edx; div rcx
  a.emit(0xb9);
  a.u32(10);
  a.emit(0x31, 0xd2, 0x48, 0xf7, 0xf1);
  // push rdx; test rax, rax; jz
  a.emit(0x52, 0x48, 0x85, 0xc0);
  a.jump([0x74], 'lastDigit');
  a.jump([0xe8], 'decimal', 32); // call decimal
  a.label('lastDigit');
  // pop rax; add al, '0'; jmp putc
  a.emit(0x58, 0x04, 0x30);
  a.jump([0xe9], 'putc', 32);

  a.label('hexadecimal'); // RBX, 16 digits
  // mov ecx, 16
  a.emit(0xb9);
  a.u32(16);
  a.label('nextDigit');
  a.emit(0x48, 0xc1, 0xc3, 0x04, 0x88, 0xd8, 0x24, 0x0f); // rol rbx, 4; mov al, bl; and al, 15
  // add al, '0'; cmp al, '9' + 1; jb digit
  a.emit(0x04, 0x30, 0x3c, 0x3a);
  a.jump([0x72], 'digit');
  a.emit(0x04, 0x27); // add al, 'a' - '9' - 1
  a.label('digit');
  a.jump([0xe8], 'putc', 32); // call putc
  // dec ecx; jnz nextDigit; ret
  a.emit(0xff, 0xc9);
  a.jump([0x75], 'nextDigit');
  a.emit(0xc3);
}

/** One character in AL to the serial port (16550, polled) and to the screen (VGA text, scrolling). */
function putCharacter(a: Assembler): void {
  a.label('putc');
  a.emit(0x51, 0x56, 0x57, 0x50); // push rcx, rsi, rdi, rax
  a.emit(0x66, 0xba, 0xfd, 0x03); // mov dx, LSR
  a.label('busy');
  // in al, dx; test al, THRE; jz busy
  a.emit(0xec, 0xa8, 0x20);
  a.jump([0x74], 'busy');
  a.emit(0x58, 0x50, 0x66, 0xba, 0xf8, 0x03, 0xee); // pop rax; push rax; mov dx, THR; out dx, al
  // cmp al, '\r'; je: the screen's new line begins at its left edge anyway
  a.emit(0x3c, 0x0d);
  a.jump([0x74], 'putcEnd');
  // cmp al, '\n'; je
  a.emit(0x3c, 0x0a);
  a.jump([0x74], 'newLine');
  // mov ah, grey; mov [screen + r15 * 2], ax
  a.emit(0xb4, 0x07, 0x66, 0x43, 0x89, 0x04, 0x7d);
  a.u32(screen);
  // inc r15d
  a.emit(0x41, 0xff, 0xc7);
  a.jump([0xeb], 'scroll');
  a.label('newLine');
  // mov eax, r15d; xor edx, edx; mov ecx, 80
  a.emit(0x44, 0x89, 0xf8, 0x31, 0xd2, 0xb9);
  a.u32(80);
  a.emit(0xf7, 0xf1, 0x29, 0xd1, 0x41, 0x01, 0xcf); // div ecx; sub ecx, edx; add r15d, ecx
  a.label('scroll');
  // cmp r15d, 25 * 80; jb
  a.emit(0x41, 0x81, 0xff);
  a.u32(2000);
  a.jump([0x72], 'putcEnd');
  // mov edi, screen; mov esi, screen + 160
  a.emit(0xbf);
  a.u32(screen);
  a.emit(0xbe);
  a.u32(screen + 160);
  // mov ecx, 24 * 80; rep movsw
  a.emit(0xb9);
  a.u32(24 * 80);
  a.emit(0xf3, 0x66, 0xa5);
  // mov ecx, 80; mov ax, blank; rep stosw
  a.emit(0xb9);
  a.u32(80);
  a.emit(0x66, 0xb8, 0x20, 0x07, 0xf3, 0x66, 0xab);
  a.emit(0x41, 0x83, 0xef, 80); // sub r15d, 80
  a.label('putcEnd');
  a.emit(0x58, 0x5f, 0x5e, 0x59, 0xc3); // pop rax, rdi, rsi, rcx; ret
}

/**
 * A kernel, a flat multiboot image for 1 MiB, that goes to 64-bit mode and on to what `main` emits, which may call `puts` (the text at RSI),
 * `putc` (AL), `decimal` (RAX) and `hexadecimal` (RBX); R15 is theirs.
 */
export function assembleKernel(main: (a: Assembler) => void): Uint8Array {
  const a = new Assembler(loadAddress);
  a.label('start');
  header(a);
  enterLongMode(a);
  beginLongMode(a);
  main(a);
  printing(a);
  putCharacter(a);
  return a.finish();
}

/** The built-in guest. */
export function makeBuiltinKernel(): Uint8Array {
  return assembleKernel((a) => {
    chain(a);
    a.label('banner');
    a.text('Revenant: the built-in guest is up\n\0');
    a.label('stepText');
    a.text('step \0');
  });
}
