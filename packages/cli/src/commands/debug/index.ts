/** `revenant debug`: looks into the emulator itself. */
import { entry, type Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'look into guests and the emulator: gdb, forwards and backwards; traces; the hottest code',
  commands: {
    gdb: entry('a guest under gdb or lldb, forwards and backwards', () => import('./gdb.ts')),
    hot: entry('the regions of translated code in which a run spends its time', () => import('./hot.ts')),
    trace: entry('what a guest does, event by event, or as a flame graph', () => import('./trace.ts')),
  },
};
