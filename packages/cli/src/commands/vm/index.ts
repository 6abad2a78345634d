/** `revenant vm`: VMs of a cluster. */
import { entry, type Group } from '../../command/command.ts';
import { group as diskGroup } from './disk/index.ts';

export const group: Group = {
  summary:
    'VMs of a cluster: create, list, start, stop, move, fork, snapshot, console, commands in guests, events',
  about: `Commands wait until they have had their effect; --no-wait: only until they are accepted. With --store they are taken, list, show and
events answered, also while no node runs: what was asked for takes effect when one starts (but migrate, which needs nodes).`,
  fallback: 'list',
  commands: {
    create: entry(
      'enter a VM into the protected list and start it: from now on the cluster keeps it running',
      () => import('./create.ts'),
    ),
    list: entry('the VMs of the cluster: state, node, memory, why', () => import('./list.ts')),
    show: entry('everything about one VM', () => import('./show.ts')),
    start: entry('start it again after a stop', () => import('./start.ts')),
    standby: entry(
      'the machine that follows it on another node: how far behind, and whether both are alike',
      () => import('./standby.ts'),
    ),
    stop: entry('power it off: it is not restarted, its disks stay', () => import('./stop.ts')),
    wait: entry(
      'wait until it is off, and end with the status with which its guest ended',
      () => import('./wait.ts'),
    ),
    pause: entry('hold it, with its state, until resume', () => import('./pause.ts')),
    resume: entry('let it go on after a pause', () => import('./resume.ts')),
    fork: entry(
      'make new VMs that begin where a checkpoint of it is, sharing its memory and disks',
      () => import('./fork.ts'),
    ),
    snapshot: entry('keep what it is now, memory and disks, under a name', () => import('./snapshot.ts')),
    snapshots: entry('its snapshots and forks, as a tree', () => import('./snapshots.ts')),
    revert: entry('take it back to a snapshot', () => import('./revert.ts')),
    backup: entry(
      'copy its newest checkpoint, memory and disks, into another store, once or again and again',
      () => import('./backup.ts'),
    ),
    restore: entry('make a VM of a backup, in this cluster or another', () => import('./restore.ts')),
    set: entry('change how it is kept, while it runs or not', () => import('./set.ts')),
    migrate: entry('move it to another node while it runs', () => import('./migrate.ts')),
    exec: entry(
      'run a command in its guest, by the agent that listens there; no network is needed',
      () => import('./exec.ts'),
    ),
    copy: entry(
      'copy a file into its guest (FILE NAME:PATH) or out of it (NAME:PATH FILE); no network is needed',
      () => import('./copy.ts'),
    ),
    console: entry(
      'the terminal as its serial console; stays attached through failovers; Ctrl-] leaves',
      () => import('./console.ts'),
    ),
    'send-key': entry('press keys of its keyboard', () => import('./send-key.ts')),
    vnc: entry(
      'its screen for VNC viewers; stays with it through failovers; Ctrl-C ends it',
      () => import('./vnc.ts'),
    ),
    screenshot: entry(
      'its screen: the text on it, or a picture in any mode',
      () => import('./screenshot.ts'),
    ),
    insert: entry('put a medium that the VM was made with into a drive', () => import('./insert.ts')),
    eject: entry('take the medium out of a drive', () => import('./eject.ts')),
    debug: entry(
      'gdb or lldb at it while it runs; the guest runs on when that ends',
      () => import('./debug.ts'),
    ),
    disk: diskGroup,
    events: entry('what happened to it, when, and why', () => import('./events.ts')),
    delete: entry('remove it for good, with its checkpoints', () => import('./delete.ts')),
  },
};
