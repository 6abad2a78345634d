/** The guest of the demo: Debian's Linux where it can be had, else the built-in one. */
import { builtinGuest } from '../images/builtin.ts';
import { CliError, messageOf } from '../errors.ts';
import { fetchImage, findImage, readImageFile } from '../images/image.ts';

export interface DemoGuest {
  title: string;
  kernel: Uint8Array;
  initrd?: Uint8Array;
  commandLine: string;
  memoryBytes: number;
  chain: 'sha256' | 'builtin';
}

const linuxImage = 'linux-cloud';

/** Debian's cloud kernel with BusyBox, running the chain program as its only job. */
async function linuxGuest(say: (line: string) => void): Promise<DemoGuest> {
  const image = (await findImage(linuxImage)) ?? (await fetchImage(linuxImage, say));
  return {
    title: `${image.manifest.title} (${Object.entries(image.manifest.packages)
      .map((entry) => entry.join(' '))
      .join(', ')})`,
    kernel: await readImageFile(image, 'kernel'),
    initrd: await readImageFile(image, 'initrd'),
    // The kernel passes words that it does not know to init as environment variables.
    commandLine: `${image.manifest.commandLine} quiet run=chain`,
    memoryBytes: image.manifest.memoryMiB * 2 ** 20,
    chain: 'sha256',
  };
}

/** Kernel and userland for `which`; without a choice, Linux, and the built-in guest where its packages can't be had. */
export async function demoGuest(
  which: 'linux' | 'builtin' | undefined,
  say: (line: string) => void,
): Promise<DemoGuest> {
  if (which === 'builtin') return { ...builtinGuest(), chain: 'builtin' };
  try {
    return await linuxGuest(say);
  } catch (error) {
    if (which === 'linux' || !(error instanceof CliError)) throw error;
    say(`no Debian packages here (${messageOf(error)}): the built-in guest serves`);
    return { ...builtinGuest(), chain: 'builtin' };
  }
}
