/**
 * A kernel for tests at the page: it writes what is typed at its serial port back, to port and screen, and what its keyboard and mouse send
 * (`k1c`, `m08`: the bytes that it reads).
 */
import { assembleKernel } from '../../images/builtin/kernel.ts';
import type { Assembler } from '../../images/builtin/assembler.ts';

/** The text at RSI is written; RSI is an address below 4 GiB. */
function say(a: Assembler, label: string): void {
  a.emit(0xbe); // mov esi, label
  a.address(label);
  a.jump([0xe8], 'puts', 32);
}

/** Writes `value` to a port of the keyboard's controller when it takes one. */
function toController(a: Assembler, port: number, value: number): void {
  const busy = `busy ${String(port)} ${String(value)}`;
  a.label(busy);
  a.emit(0xe4, 0x64, 0xa8, 0x02); // in al, 64h; test al, input buffer full
  a.jump([0x75], busy);
  a.emit(0xb0, value, 0xe6, port); // mov al, value; out port, al
}

function hexDigit(a: Assembler, shift: number): void {
  const small = `small ${String(shift)}`;
  a.emit(0x88, 0xd8, 0xc0, 0xe8, shift, 0x24, 0x0f); // mov al, bl; shr al, shift; and al, 15
  a.emit(0x04, 0x30, 0x3c, 0x3a); // add al, '0'; cmp al, '9' + 1
  a.jump([0x72], small);
  a.emit(0x04, 0x27); // add al, 'a' - '9' - 1
  a.label(small);
  a.jump([0xe8], 'putc', 32);
}

/** A byte of keyboard or mouse, as three characters and a space. */
function tellByte(a: Assembler): void {
  a.label('input');
  a.emit(0x89, 0xc1, 0xe4, 0x60, 0x88, 0xc3); // mov ecx, eax; in al, 60h; mov bl, al
  a.emit(0xb0, 0x6b, 0xf6, 0xc1, 0x20); // mov al, 'k'; test cl, from the mouse
  a.jump([0x74], 'keyboard');
  a.emit(0xb0, 0x6d); // mov al, 'm'
  a.label('keyboard');
  a.jump([0xe8], 'putc', 32);
  hexDigit(a, 4);
  hexDigit(a, 0);
  a.emit(0xb0, 0x20); // mov al, ' '
  a.jump([0xe8], 'putc', 32);
  a.jump([0xe9], 'next', 32);
}

export function makeEchoKernel(): Uint8Array {
  return assembleKernel((a) => {
    toController(a, 0x64, 0xa8); // the mouse's port is on,
    toController(a, 0x64, 0xd4); // the next byte is for the mouse:
    toController(a, 0x60, 0xf4); // tell movements
    a.label('acknowledged');
    a.emit(0xe4, 0x64, 0xa8, 0x01); // in al, 64h; test al, output buffer full
    a.jump([0x74], 'acknowledged');
    a.emit(0xe4, 0x60); // in al, 60h
    say(a, 'banner');
    a.label('next');
    a.emit(0xe4, 0x64, 0xa8, 0x01); // in al, 64h; test al, output buffer full
    a.jump([0x75], 'input');
    a.emit(0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01); // mov dx, LSR; in al, dx; test al, data ready
    a.jump([0x74], 'next');
    a.emit(0x66, 0xba, 0xf8, 0x03, 0xec, 0x3c, 0x0d); // mov dx, RBR; in al, dx; cmp al, '\r'
    a.jump([0x75], 'echo');
    a.jump([0xe8], 'putc', 32);
    a.emit(0xb0, 0x0a); // mov al, '\n'
    a.label('echo');
    a.jump([0xe8], 'putc', 32);
    a.jump([0xeb], 'next');
    tellByte(a);
    a.label('banner');
    a.text('type here\n\0');
  });
}
