/** `revenant store`: the place where a cluster keeps everything. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'make a store, or look at one: its identity, its cluster',
  about: `A store is file:/srv/revenant (a folder, local or on NFS), s3://BUCKET/PREFIX?endpoint=… or memory:NAME. It is made by 'store init', or by the
first node of a cluster; no other command makes one, so that a mistyped place is refused rather than empty.`,
  commands: {
    init: () => import('./init.ts'),
    release: () => import('./release.ts'),
    show: () => import('./show.ts'),
  },
};
