/** The guest of the demo: Debian's Linux where it can be had, else the built-in one. Both run a chain program. */
import { createHash } from 'node:crypto';
import type { BootDescription, ChainRule, ClusterClient, DemoGuest } from '@revenant/cluster';
import { builtinDigest, builtinGuest } from '../images/builtin.ts';
import { CliError, messageOf } from '../errors.ts';
import { fetchImage, findImage, readImageFile } from '../images/image.ts';

export const demoGuests = ['linux', 'builtin'] as const;
export type DemoGuestName = (typeof demoGuests)[number];

const linuxImage = 'linux-cloud';

/** The rule of images/linux/chain. */
const sha256Chain: ChainRule = {
  first: '0'.repeat(64),
  next: (previous, step) => createHash('sha256').update(`${previous} ${step}\n`).digest('hex'),
};

const builtinChain: ChainRule = { first: '0'.repeat(16), next: builtinDigest };

interface Boot {
  title: string;
  kernel: Uint8Array;
  initrd?: Uint8Array;
  commandLine: string;
  memoryBytes: number;
}

function machineGuest({ title, kernel, initrd, commandLine, memoryBytes }: Boot, rule: ChainRule): DemoGuest {
  return {
    title,
    runtime: 'machine',
    memoryMiB: memoryBytes / 2 ** 20,
    rule,
    async describe(client: ClusterClient): Promise<BootDescription> {
      return {
        memoryBytes,
        commandLine,
        kernel: await client.putBlob(kernel),
        ...(initrd === undefined ? {} : { initrd: await client.putBlob(initrd) }),
      };
    },
  };
}

/** Debian's cloud kernel with BusyBox, running the chain program as its only job. */
async function linuxGuest(say: (line: string) => void): Promise<DemoGuest> {
  const image = (await findImage(linuxImage)) ?? (await fetchImage(linuxImage, say));
  const { manifest } = image;
  const packages = Object.entries(manifest.packages).map((entry) => entry.join(' '));
  const boot = {
    title: `${manifest.title} (${packages.join(', ')})`,
    kernel: await readImageFile(image, 'kernel'),
    initrd: await readImageFile(image, 'initrd'),
    // The kernel passes words that it does not know to init as environment variables.
    commandLine: `${manifest.commandLine} quiet run=chain`,
    memoryBytes: manifest.memoryMiB * 2 ** 20,
  };
  return { ...machineGuest(boot, sha256Chain), page: 'Hello from revenant' };
}

/** The chosen guest; without a choice, Linux, and the built-in guest where Linux's packages can't be had. */
export async function demoGuest(
  which: DemoGuestName | undefined,
  say: (line: string) => void,
): Promise<DemoGuest> {
  if (which !== 'builtin') {
    try {
      return await linuxGuest(say);
    } catch (error) {
      if (which === 'linux' || !(error instanceof CliError)) throw error;
      say(`no Debian packages here (${messageOf(error)}): the built-in guest serves`);
    }
  }
  return machineGuest({ ...builtinGuest() }, builtinChain);
}
