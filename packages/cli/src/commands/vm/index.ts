/** `revenant vm`: VMs of a cluster. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary:
    'VMs of a cluster: create, list, start, stop, move, fork, snapshot, console, commands in guests, events',
  about: `Commands wait until they have had their effect; --no-wait: only until they are accepted. With --store they are taken, list, show and
events answered, also while no node runs: what was asked for takes effect when one starts (but migrate, which needs nodes).`,
  fallback: 'list',
  commands: {
    create: () => import('./create.ts'),
    list: () => import('./list.ts'),
    show: () => import('./show.ts'),
    start: () => import('./start.ts'),
    standby: () => import('./standby.ts'),
    stop: () => import('./stop.ts'),
    pause: () => import('./pause.ts'),
    resume: () => import('./resume.ts'),
    fork: () => import('./fork.ts'),
    snapshot: () => import('./snapshot.ts'),
    snapshots: () => import('./snapshots.ts'),
    revert: () => import('./revert.ts'),
    set: () => import('./set.ts'),
    migrate: () => import('./migrate.ts'),
    exec: () => import('./exec.ts'),
    copy: () => import('./copy.ts'),
    console: () => import('./console.ts'),
    'send-key': () => import('./send-key.ts'),
    vnc: () => import('./vnc.ts'),
    screenshot: () => import('./screenshot.ts'),
    insert: () => import('./insert.ts'),
    eject: () => import('./eject.ts'),
    disk: () => import('./disk/index.ts'),
    events: () => import('./events.ts'),
    delete: () => import('./delete.ts'),
  },
};
