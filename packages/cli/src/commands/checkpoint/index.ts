/** `revenant checkpoint`: looks into checkpoints, in a store or in a file, and moves them about. */
import type { Group } from '../../command/command.ts';

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
    list: () => import('./list.ts'),
    show: () => import('./show.ts'),
    diff: () => import('./diff.ts'),
    verify: () => import('./verify.ts'),
    registers: () => import('./registers.ts'),
    memory: () => import('./memory.ts'),
    disassemble: () => import('./disassemble.ts'),
    pages: () => import('./pages.ts'),
    screen: () => import('./screen.ts'),
    console: () => import('./console.ts'),
    linux: () => import('./linux.ts'),
    search: () => import('./search.ts'),
    export: () => import('./export.ts'),
    import: () => import('./import.ts'),
    gc: () => import('./gc.ts'),
  },
};
