/**
 * Runs a guest in v86, its first serial port on standard output.
 *
 *   node v86-guest.ts GUEST      a Guest of guests.ts as JSON
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { firmware } from './emulators.ts';
import type { Guest } from './guests.ts';

interface V86Emulator {
  add_listener(event: string, listener: (value: number) => void): void;
  run(): Promise<void>;
}

const guest = JSON.parse(process.argv[2] ?? '') as Guest;
const folder = dirname(createRequire(import.meta.url).resolve('v86/package.json'));
const { V86 } = (await import('v86')) as unknown as { V86: new (options: object) => V86Emulator };

function image(path: string): { buffer: ArrayBuffer } {
  const bytes = readFileSync(path);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
}

const source =
  guest.kind === 'multiboot'
    ? { multiboot: image(guest.kernel) }
    : {
        bios: image(firmware[0]),
        vga_bios: image(firmware[1]),
        bzimage: image(guest.kernel),
        ...(guest.initrd === undefined ? {} : { initrd: image(guest.initrd) }),
        cmdline: guest.commandLine,
      };
const emulator = new V86({
  wasm_path: join(folder, 'build/v86.wasm'),
  memory_size: guest.memoryMiB << 20,
  ...source,
  autostart: false,
  disable_speaker: true,
});
let line: number[] = [];
emulator.add_listener('serial0-output-byte', (value) => {
  line.push(value);
  if (value !== 10) return;
  process.stdout.write(Uint8Array.from(line));
  line = [];
});
emulator.add_listener('emulator-ready', () => void emulator.run());
