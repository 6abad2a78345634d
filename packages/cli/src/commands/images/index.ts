/** `revenant images`: what can be run by name. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'list, make or find the guest images',
  fallback: 'list',
  commands: {
    list: () => import('./list.ts'),
    fetch: () => import('./fetch.ts'),
    path: () => import('./path.ts'),
  },
};
