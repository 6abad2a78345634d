/** `revenant debug`: looks into the emulator itself. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'look into guests and the emulator: gdb, forwards and backwards; traces; the hottest code',
  commands: {
    gdb: () => import('./gdb.ts'),
    hot: () => import('./hot.ts'),
    trace: () => import('./trace.ts'),
  },
};
