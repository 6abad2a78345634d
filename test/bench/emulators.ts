/** The emulators that are compared: how each is started with a guest, its first serial port on standard output. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Bits, Guest } from './guests.ts';

/** In the order of tables and charts. */
export const emulatorIds = ['revenant', 'interpreter', 'before', 'v86', 'qemu'] as const;

export interface Emulator {
  /** Key in the JSON file. */
  id: (typeof emulatorIds)[number];
  /** Heading in tables. */
  name: string;
  /** Name that `--against` takes; ours always run. */
  family: 'revenant' | 'v86' | 'qemu';
  bits: readonly Bits[];
  command(guest: Guest): string[];
}

const root = join(import.meta.dirname, '../..');

function revenant(engine: 'translator' | 'interpreter', folder = root): Emulator['command'] {
  return ({ kernel, initrd, commandLine, memoryMiB }) => [
    ...[
      process.execPath,
      join(folder, 'packages/cli/src/main.ts'),
      'run',
      '--kernel',
      kernel,
      '--memory',
      `${memoryMiB}M`,
    ],
    ...(initrd === undefined ? [] : ['--initrd', initrd]),
    ...(commandLine === undefined ? [] : ['--append', commandLine]),
    ...['--engine', engine],
  ];
}

function qemu({ kernel, initrd, commandLine, memoryMiB }: Guest): string[] {
  return [
    ...['qemu-system-x86_64', '-accel', 'tcg,thread=single', '-cpu', 'Nehalem', '-m', String(memoryMiB)],
    ...['-nodefaults', '-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-kernel', kernel],
    ...(initrd === undefined ? [] : ['-initrd', initrd]),
    ...(commandLine === undefined ? [] : ['-append', commandLine]),
  ];
}

function v86(guest: Guest): string[] {
  return [process.execPath, join(import.meta.dirname, 'v86-guest.ts'), JSON.stringify(guest)];
}

/** The same emulators inside Debian's Chromium. */
function inBrowser(id: 'revenant' | 'interpreter' | 'v86'): Emulator['command'] {
  return (guest) => [
    process.execPath,
    join(import.meta.dirname, 'browser-guest.ts'),
    id,
    JSON.stringify(guest),
  ];
}

export const browserEmulators: readonly Emulator[] = [
  { id: 'revenant', name: 'Revenant', family: 'revenant', bits: [32, 64], command: inBrowser('revenant') },
  {
    id: 'interpreter',
    name: 'Revenant, interpreter',
    family: 'revenant',
    bits: [32, 64],
    command: inBrowser('interpreter'),
  },
  { id: 'v86', name: 'v86', family: 'v86', bits: [32], command: inBrowser('v86') },
];

export const emulators: readonly Emulator[] = [
  {
    id: 'revenant',
    name: 'Revenant',
    family: 'revenant',
    bits: [32, 64],
    command: revenant('translator'),
  },
  {
    id: 'interpreter',
    name: 'Revenant, interpreter',
    family: 'revenant',
    bits: [32, 64],
    command: revenant('interpreter'),
  },
  { id: 'v86', name: 'v86', family: 'v86', bits: [32], command: v86 },
  { id: 'qemu', name: 'QEMU TCG', family: 'qemu', bits: [32, 64], command: qemu },
];

/** The translator of another checkout of this repository, which has to be built. */
export function revenantOf(folder: string): Emulator {
  const command = revenant('translator', resolve(folder));
  return { id: 'before', name: 'before', family: 'revenant', bits: [32, 64], command };
}

/** Debian's SeaBIOS, which v86 needs to start a kernel. */
export const firmware = ['/usr/share/seabios/bios.bin', '/usr/share/seabios/vgabios-stdvga.bin'] as const;

/** Why an emulator family can't be measured here, with what to install; undefined when it can. */
export function whyMissing(family: string): string | undefined {
  if (family === 'qemu' && spawnSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' }).status !== 0)
    return 'qemu-system-x86_64 is missing: apt-get install qemu-system-x86';
  if (family === 'v86' && !firmware.every((path) => existsSync(path)))
    return `v86 needs SeaBIOS (${firmware.join(', ')}): apt-get install seabios`;
  return undefined;
}
