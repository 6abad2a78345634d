/** `revenant checkpoint`: looks into checkpoints, in a store or in a file, and moves them about. */
import { entry, type Group } from '../../command/command.ts';

export const group: Group = {
  summary:
    'look into checkpoints: registers, memory, code, screen, log, Linux; verify, export, import, collect',
  about: `CHECKPOINT is VM, VM@latest, VM@SEQUENCE or VM@EPOCH-SEQUENCE of the store that --store URL (or REVENANT_STORE) names,
or an exported file (a path with a slash, or the name of a file when no store is given). REVENANT_KEY or
REVENANT_KEY_FILE gives the key of encrypted ones.

A checkpoint to look at:
  revenant run linux-cloud --max-instructions 1500000000 --save linux.checkpoint
  revenant checkpoint show linux.checkpoint`,
  commands: {
    list: entry('the VMs of a store, or the checkpoints of a VM', () => import('./list.ts')),
    show: entry(
      'description, times, sizes, chain, ratios, devices of one checkpoint',
      () => import('./show.ts'),
    ),
    diff: entry('what changed from A to B, by region and by device field', () => import('./diff.ts')),
    verify: entry(
      'read and check every page of a checkpoint, or of all of a VM',
      () => import('./verify.ts'),
    ),
    registers: entry("the processor's registers, control bits in words", () => import('./registers.ts')),
    memory: entry('bytes at a linear or physical address', () => import('./memory.ts')),
    disassemble: entry(
      'instructions at an address, or where the processor stands',
      () => import('./disassemble.ts'),
    ),
    pages: entry('a map of zero, shared, changed and unchanged pages', () => import('./pages.ts')),
    screen: entry('the display, as text or as PNG', () => import('./screen.ts')),
    console: entry('what the serial port sent last (up to 64 KiB)', () => import('./console.ts')),
    linux: entry("a Linux guest's banner, processes and kernel log", () => import('./linux.ts')),
    search: entry('find bytes or a text, with addresses', () => import('./search.ts')),
    export: entry('write a checkpoint to a single file', () => import('./export.ts')),
    import: entry('read a file into a store, as the next checkpoint of a VM', () => import('./import.ts')),
    gc: entry('remove the checkpoints that need not be kept', () => import('./gc.ts')),
  },
};
