/** `revenant vm create`: from an image or files to a VM of the cluster. */
import { createReadStream } from 'node:fs';
import {
  healthSigns,
  type BootDescription,
  type ClusterClient,
  type HealthPolicy,
  type VmSpec,
} from '@revenant/cluster';
import { baseImageName, importBaseImage, keyFromEnvironment, openStore } from '@revenant/storage';
import { CliError, ExitCode } from '../errors.ts';
import { openDisks, parseDisk, type DiskOption } from '../run/disks.ts';
import { findSource } from '../run/guest.ts';
import { parseSize } from '../run/options.ts';

/** Options of `vm create`, for parseArgs. */
export const createOptions = {
  kernel: { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
  memory: { type: 'string' },
  disk: { type: 'string', multiple: true },
  'disk-size': { type: 'string', multiple: true },
  priority: { type: 'string', default: '1' },
  'anti-affinity': { type: 'string' },
  'checkpoint-ms': { type: 'string' },
  health: { type: 'string' },
  'no-start': { type: 'boolean', default: false },
} as const;

export const createHelp = `  IMAGE                    an image by name (revenant images lists them), or:
  --kernel FILE            bzImage, ELF with a PVH note, or multiboot 1; with --initrd FILE
  --append TEXT            its command line (added to the image's own)
  --memory SIZE            for example 256M (default: the image's, else 128M)
  --disk FILE[,ro]         a raw disk image, copied into the store once; the guest's writes belong to the VM (needs --store)
  --disk-size SIZE         an empty disk, behind those of --disk
  --priority N             higher is restarted first (default 1)
  --anti-affinity GROUP    never on one node with another VM of the group
  --checkpoint-ms N        interval of its checkpoints (default: the cluster's)
  --health SIGN:SECONDS    boots it afresh when its guest shows no SIGN (console, screen or instructions) and asks for no disk for
                           so long; at most five failures in about an hour (default: a silent guest is left alone)
  --no-start               only enter it in the list`;

export interface CreateValues {
  kernel?: string;
  initrd?: string;
  append?: string;
  memory?: string;
  disk?: string[];
  'disk-size'?: string[];
  priority: string;
  'anti-affinity'?: string;
  'checkpoint-ms'?: string;
  health?: string;
  'no-start': boolean;
}

const defaultMemoryBytes = 128 * 2 ** 20;

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value))
    throw new CliError(ExitCode.usage, `--${option}: '${text}' is no whole number`, `--${option} 1`);
  return value;
}

function parseHealth(text: string): HealthPolicy {
  const [sign, seconds = ''] = text.split(':');
  const watch = healthSigns.find((each) => each === sign);
  if (watch === undefined || !/^[1-9]\d*$/.test(seconds))
    throw new CliError(
      ExitCode.usage,
      `--health: '${text}' is no sign with seconds`,
      `one of ${healthSigns.join(', ')}, as in --health console:60`,
    );
  return { watch, silentMs: Number(seconds) * 1000 };
}

/** Puts image files into the store as base images, and describes the disks on them. */
async function putDisks(
  options: readonly DiskOption[],
  storeUrl: string | undefined,
): Promise<NonNullable<BootDescription['disks']>> {
  const files = options.filter((option) => 'path' in option);
  if (files.some(({ mode }) => mode === 'rw'))
    throw new CliError(
      ExitCode.usage,
      '--disk: a VM of a cluster never writes to the file it was made from',
      'leave rw out',
    );
  if (files.length > 0 && storeUrl === undefined)
    throw new CliError(ExitCode.usage, '--disk copies the image into the store', 'name it with --store URL');
  const open = openDisks(options);
  open.close();
  if (storeUrl === undefined || files.length === 0) return open.requests;
  const store = await openStore(storeUrl);
  try {
    const key = await keyFromEnvironment();
    for (const [i, { path }] of files.entries()) {
      const sha256 = open.requests[i]?.base?.sha256;
      if (sha256 !== undefined)
        await importBaseImage(
          store,
          baseImageName(sha256),
          createReadStream(path, { highWaterMark: 1 << 20 }),
          { key },
        );
    }
  } finally {
    await store.close();
  }
  return open.requests;
}

/** Enters a VM into the protected list, with kernel, initrd and disks in the store. */
export async function createVm(
  client: ClusterClient,
  vmId: string,
  image: string | undefined,
  values: CreateValues,
  storeUrl: string | undefined,
): Promise<'node' | 'store'> {
  if (image === undefined && values.kernel === undefined)
    throw new CliError(
      ExitCode.usage,
      'nothing to boot',
      'revenant vm create NAME IMAGE, or --kernel FILE (revenant images lists the images)',
    );
  const { kernel, initrd, append } = values;
  const source = await findSource(
    {
      ...(image === undefined ? {} : { image }),
      ...(kernel === undefined ? {} : { kernel }),
      ...(initrd === undefined ? {} : { initrd }),
      ...(append === undefined ? {} : { append }),
    },
    (line) => process.stderr.write(`revenant: ${line}\n`),
  );
  const memoryBytes =
    values.memory === undefined ? (source.memoryBytes ?? defaultMemoryBytes) : parseSize(values.memory);
  const disks = await putDisks(
    [
      ...(values.disk ?? []).map(parseDisk),
      ...(values['disk-size'] ?? []).map((size) => ({ emptyBytes: parseSize(size) })),
    ],
    storeUrl,
  );
  const description: BootDescription = {
    memoryBytes,
    commandLine: source.commandLine,
    kernel: await client.putBlob(source.kernel ?? new Uint8Array(0)),
    ...(source.initrd === undefined ? {} : { initrd: await client.putBlob(source.initrd) }),
    ...(disks.length === 0 ? {} : { disks }),
  };
  const checkpoint = values['checkpoint-ms'];
  const group = values['anti-affinity'];
  const spec: VmSpec = {
    runtime: 'machine',
    description,
    memoryMiB: memoryBytes / 2 ** 20,
    priority: wholeNumber('priority', values.priority),
    outputs: 'async',
    ...(group === undefined ? {} : { antiAffinity: group }),
    ...(values.health === undefined ? {} : { health: parseHealth(values.health) }),
    ...(checkpoint === undefined ? {} : { checkpointMs: wholeNumber('checkpoint-ms', checkpoint) }),
  };
  return client.command({ type: 'vm-create', vmId, spec, start: !values['no-start'] });
}
