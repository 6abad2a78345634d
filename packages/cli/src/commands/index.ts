/** All commands of `revenant`. */
import { entry, type Group } from '../command/command.ts';
import { group as imagesGroup } from './images/index.ts';
import { group as vmGroup } from './vm/index.ts';
import { group as networkGroup } from './network/index.ts';
import { group as checkpointGroup } from './checkpoint/index.ts';
import { group as clusterGroup } from './cluster/index.ts';
import { group as storeGroup } from './store/index.ts';
import { group as debugGroup } from './debug/index.ts';

export const commands: Group = {
  summary: 'x86 virtual machines that outlive their hosts',
  about: `Examples:
  revenant demo
  revenant run linux-cloud
  revenant run --kernel bzImage --initrd initrd.gz --append "console=ttyS0" --memory 256M
  revenant images list
  revenant node --store file:/srv/revenant --name a
  revenant vm create web linux-cloud --store file:/srv/revenant`,
  commands: {
    run: entry('run one guest here, with the terminal as its console', () => import('./run.ts')),
    images: imagesGroup,
    node: entry('be a node of a cluster: run VMs, watch the other nodes', () => import('./node.ts')),
    vm: vmGroup,
    network: networkGroup,
    checkpoint: checkpointGroup,
    cluster: clusterGroup,
    store: storeGroup,
    replay: entry("a VM's past, run again on this host", () => import('./replay.ts')),
    debug: debugGroup,
    mcp: entry('give VMs to programs as tools, by the Model Context Protocol', () => import('./mcp.ts')),
    page: entry('the emulator in a browser tab, served from this host', () => import('./page.ts')),
    open: entry(
      'the address at which a checkpoint of a VM goes on in a browser tab',
      () => import('./open.ts'),
    ),
    demo: entry('a guest survives the death of its node, before your eyes', () => import('./demo.ts')),
    completion: entry('print a script by which a shell completes commands and options', () =>
      import('./completion.ts').then(({ completionOf }) => ({ command: completionOf(commands) })),
    ),
  },
};
