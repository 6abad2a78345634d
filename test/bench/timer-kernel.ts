/**
 * A guest that a timer wakes 100 times a second: a multiboot kernel in 32-bit mode. Between the ticks it waits, or computes; it may say
 * each so many ticks that time has passed.
 */
import { Assembler } from '../../images/builtin/assembler.ts';

const loadAddress = 0x10_0000;
const idt = 0x20_0000;
const timerVector = 0x20;

/** Multiboot 1 header with load addresses (section 3.1). */
function header(a: Assembler): void {
  const flags = 0x1_0000;
  a.u32(0x1bad_b002);
  a.u32(flags);
  a.u32(-(0x1bad_b002 + flags));
  a.address('start');
  a.address('start');
  a.u32(0);
  a.u32(0);
  a.address('entry');
}

/** mov al, value; out port, al */
function out(a: Assembler, port: number, value: number): void {
  a.emit(0xb0, value, 0xe6, port);
}

/** The interrupt table with one gate, the 8259A pair, the 8254; afterwards DX is the port of COM1. */
function enableTimer(a: Assembler): void {
  // Gate 32, an interrupt gate: mov eax, timer; mov [idt + 32 * 8], ax; mov word [+2], 8; mov dword [+4], eax with 8e00h below
  a.emit(0xb8);
  a.address('timer');
  a.emit(0x66, 0xa3);
  a.u32(idt + timerVector * 8);
  a.emit(0x66, 0xc7, 0x05);
  a.u32(idt + timerVector * 8 + 2);
  a.emit(0x08, 0x00);
  a.emit(0x66, 0xb8, 0x00, 0x8e, 0xa3); // mov ax, 8e00h; mov [+4], eax
  a.u32(idt + timerVector * 8 + 4);
  a.emit(0x0f, 0x01, 0x1d); // lidt [idtPointer]
  a.address('idtPointer');
  // 8259A: ICW1 to ICW4, vectors from 20h, only the timer unmasked.
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, timerVector],
    [0x21, 0x04],
    [0x21, 0x01],
    [0x21, 0xfe],
    [0xa0, 0x11],
    [0xa1, 0x28],
    [0xa1, 0x02],
    [0xa1, 0x01],
    [0xa1, 0xff],
    // 8254: counter 0, mode 2.
    [0x43, 0x34],
    [0x40, tickCounts & 0xff],
    [0x40, tickCounts >> 8],
  ] as const)
    out(a, port, value);
  a.emit(0x66, 0xba, 0xf8, 0x03); // mov dx, 3f8h
}

/** Counts of the 8254 at 1.193182 MHz from one tick to the next. */
const tickCounts = 11_932;
export const tickMs = (tickCounts / 1_193_182) * 1000;

export interface TimerKernel {
  /** Writes `idle` once at its start. */
  greets?: boolean;
  /** Writes a dot on its console each so many ticks. */
  ticksPerDot?: number;
  /** Computes between the ticks, rather than wait in HLT. */
  computes?: boolean;
}

export function makeTimerKernel({ greets = false, ticksPerDot, computes = false }: TimerKernel): Uint8Array {
  const a = new Assembler(loadAddress);
  a.label('start');
  header(a);
  a.label('entry');
  a.emit(0xfa, 0x0f, 0x01, 0x15); // cli; lgdt [gdtPointer]
  a.address('gdtPointer');
  a.emit(0xea); // jmp 8:flat
  a.address('flat');
  a.emit(0x08, 0x00);
  a.label('flat');
  a.emit(0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0); // mov ax, 16; mov ds, es and ss, ax
  a.emit(0xbc); // mov esp, 2 MiB
  a.u32(idt);
  enableTimer(a);
  const say = (text: string): void => {
    for (const byte of new TextEncoder().encode(text)) a.emit(0xb0, byte, 0xee); // mov al, byte; out dx, al
  };
  if (greets) say('idle\n');
  a.emit(0xbb); // mov ebx, the ticks until it has something to say
  a.u32(ticksPerDot ?? 0);
  a.emit(0xfb); // sti
  a.label('wait');
  if (computes)
    a.emit(0x41); // inc ecx
  else a.emit(0xf4); // hlt
  a.jump([0xeb], 'wait');
  a.label('timer');
  a.emit(0x50); // push eax
  out(a, 0x20, 0x20);
  if (ticksPerDot !== undefined) {
    a.emit(0x4b); // dec ebx
    a.jump([0x75], 'done'); // jnz
    a.emit(0xbb); // mov ebx, ticksPerDot
    a.u32(ticksPerDot);
    say('.');
    a.label('done');
  }
  a.emit(0x58, 0xcf); // pop eax; iret
  a.align(8);
  a.label('gdt');
  a.u64(0n);
  a.u64(0x00cf_9a00_0000_ffffn); // code, 4 GiB
  a.u64(0x00cf_9200_0000_ffffn); // data, 4 GiB
  a.label('gdtPointer');
  a.emit(0x17, 0x00);
  a.address('gdt');
  a.label('idtPointer');
  a.emit(0xff, 0x07);
  a.u32(idt);
  return a.finish();
}
