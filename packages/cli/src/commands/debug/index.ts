/** `revenant debug`: looks into the emulator itself. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'look into the emulator: the hottest translated code',
  commands: { hot: () => import('./hot.ts') },
};
