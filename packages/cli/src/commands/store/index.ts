/** `revenant store`: the place where a cluster keeps everything. */
import { entry, type Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'make a store, or look at one: its identity, its cluster',
  about: `A store is file:/srv/revenant (a folder, local or on NFS), s3://BUCKET/PREFIX?endpoint=… or memory:NAME. It is made by 'store init', or by the
first node of a cluster; no other command makes one, so that a mistyped place is refused rather than empty.`,
  commands: {
    init: entry('make a store, and give it an identity', () => import('./init.ts')),
    release: entry(
      'forget whose a store is, so that the next cluster, or its own with another token, may have it',
      () => import('./release.ts'),
    ),
    show: entry('whether there is a store, which one, and whose', () => import('./show.ts')),
  },
};
