/** `revenant images`: what can be run by name. */
import { entry, type Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'list, make or find the guest images',
  fallback: 'list',
  commands: {
    list: entry('the images, and which of them are in the cache', () => import('./list.ts')),
    fetch: entry(
      'make an image from Debian packages (through apt, without root) and keep it in the cache',
      () => import('./fetch.ts'),
    ),
    import: entry(
      'make an image of a container image (an OCI layout, or what docker save wrote), which starts its program',
      () => import('./import.ts'),
    ),
    path: entry(
      "print the folder with an image's kernel, initrd and manifest.json",
      () => import('./path.ts'),
    ),
  },
};
