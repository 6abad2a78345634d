/** All commands of `revenant`. */
import type { Group } from '../command/command.ts';

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
    run: () => import('./run.ts'),
    images: () => import('./images/index.ts'),
    node: () => import('./node.ts'),
    vm: () => import('./vm/index.ts'),
    network: () => import('./network/index.ts'),
    checkpoint: () => import('./checkpoint/index.ts'),
    cluster: () => import('./cluster/index.ts'),
    store: () => import('./store/index.ts'),
    replay: () => import('./replay.ts'),
    debug: () => import('./debug/index.ts'),
    page: () => import('./page.ts'),
    open: () => import('./open.ts'),
    demo: () => import('./demo.ts'),
    completion: () =>
      import('./completion.ts').then(({ completionOf }) => ({ command: completionOf(commands) })),
  },
};
