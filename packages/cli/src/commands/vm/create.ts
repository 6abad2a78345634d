/** `revenant vm create`: from an image or files to a VM of the cluster. */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import type { BootDescription } from '@revenant/cluster';
import {
  healthSigns,
  isClusterError,
  whyNeverFits,
  type ClusterClient,
  type ClusterStatus,
  type HealthPolicy,
  type VmSpec,
} from '@revenant/cluster/client';
import { cpuModels, describeMachine, diskPageBytes, maxCpus } from '@revenant/emulator';
import {
  baseImageName,
  importBaseImage,
  keyFromEnvironment,
  openStore,
  type ObjectStore,
} from '@revenant/storage';
import { chosenStore, withCluster } from '../../cluster/connect.ts';
import { changeOptions, settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { flag, list, text, value, type Options, type Values } from '../../command/options.ts';
import { oneOf, size, wholeNumber } from '../../command/values.ts';
import { outputPolicy, standbyCount } from '../../cluster/output-policy.ts';
import { newRulesOf, ruleOptions } from '../../cluster/placement-rules.ts';
import { storeQuota } from '../../cluster/store-quota.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { say } from '../../output/print.ts';
import { Progress } from '../../output/progress.ts';
import { Waiting } from '../../output/waiting.ts';
import { openDisks, parseDisc, parseDisk, parseFloppy, type DiskOption } from '../../run/disks.ts';
import { firmwareImage, firmwareMemoryBytes, guessMedium, type Guessable } from '../../run/firmware.ts';
import { kindOfFile, MediumFile, type MediumOption } from '../../run/media-file.ts';
import { parsePublishOn } from '../../run/network-options.ts';
import { findSource, type Source } from '../../run/guest.ts';
import { given, parseBootOrder, type RunOptions } from '../../run/options.ts';

const createOptions = {
  kernel: text('FILE', 'bzImage, ELF with a PVH note, or multiboot 1; with --initrd FILE'),
  initrd: text('FILE', 'its initial RAM disk'),
  append: text('TEXT', "its command line (added to the image's own)"),
  memory: value('SIZE', "for example 256M (default: the image's, else 128M)", size),
  cpu: value(
    'MODEL',
    'its processor: x86-64-v2 (default), x86-64-v3; older ones as in revenant run',
    oneOf(cpuModels),
  ),
  cpus: value('N', `how many processors, 1 (default) to ${String(maxCpus)}`, wholeNumber(1, maxCpus)),
  disk: list(
    'FILE[,ro][,ide|,ahci][,backing]',
    `a disk image, raw or qcow2, copied into the store once; the guest's writes belong to the VM
(needs --store). A virtio disk, unless ide or ahci says otherwise`,
    parseDisk,
  ),
  cdrom: list('FILE', 'a disc for the CD drive; the first is in it, others wait (vm insert)', parseDisc),
  floppy: list('FILE[,ro]', 'a disk for the floppy drive; the first is in it, others wait', parseFloppy),
  boot: value('ORDER', 'what firmware starts from, in order: disk, cdrom, floppy', parseBootOrder),
  bios: text('FILE', "a BIOS image instead of SeaBIOS from Debian's package"),
  'disk-size': list('SIZE', 'an empty disk, behind those of --disk', size),
  priority: value('N', 'higher is restarted first (default 1)', wholeNumber(), 1),
  ...ruleOptions,
  'checkpoint-ms': value('N', "interval of its checkpoints (default: the cluster's)", wholeNumber(1)),
  net: text('NAME', 'its card is in this network of the cluster (revenant network create)'),
  publish: list(
    '[NODE:]PORT:GUESTPORT[/udp]',
    "each node's port (or that of NODE alone) is the guest's, wherever it runs (needs --net)",
    parsePublishOn,
  ),
  health: value(
    'SIGN:SECONDS',
    `boots it afresh when its guest shows no SIGN (console, screen or instructions) and asks
for no disk for so long; at most five failures in about an hour (default: a silent
guest is left alone)`,
    parseHealth,
  ),
  output: value(
    'POLICY',
    `when what it says leaves its node: async (at once; a failover may repeat or lose what was
said since the last checkpoint), checkpoint or log (when a checkpoint, or the log of its
inputs, is durable up to it), standby (when another node's machine that follows it holds
that log); with the last three nothing that anybody saw is taken back; default async`,
    outputPolicy,
    'async' as const,
  ),
  standby: value(
    'N',
    `1: a machine on another node follows it, and goes on at once should its node end (with
--output log; with --output standby it always has one)`,
    standbyCount,
  ),
  'store-quota': value(
    'SIZE',
    `how much its checkpoints and log may hold in the store, for example 2G: then its guest
stands still until there is room (default: none, no limit)`,
    storeQuota,
  ),
  'no-start': flag('only enter it in the list'),
  ...changeOptions,
} satisfies Options;

const defaultMemoryBytes = 128 * 2 ** 20;

function parseHealth(policy: string, name: string): HealthPolicy {
  const [sign, seconds = ''] = policy.split(':');
  const watch = healthSigns.find((each) => each === sign);
  if (watch === undefined || !/^[1-9]\d*$/.test(seconds))
    throw new CliError(
      ExitCode.usage,
      `${name}: '${policy}' is no sign with seconds`,
      `one of ${healthSigns.join(', ')}, as in ${name} console:60`,
    );
  return { watch, silentMs: Number(seconds) * 1000 };
}

/** Copies what a guest would see on an image, raw or qcow2, into the store; a copy that is there is not made again. Returns its SHA-256. */
async function putDisk(store: ObjectStore, file: MediumOption, fileSha256: string): Promise<string> {
  const medium = new MediumFile(file);
  const { path } = file;
  const waiting = new Waiting(`${path} is in the store`);
  const progress = new Progress(path);
  try {
    // Of discs and floppy disks the guest sees whole sectors, and whole disks.
    const isAsItIs = kindOfFile(path) !== 'qcow2' && medium.bytes === statSync(path).size;
    const sha256 = isAsItIs ? fileSha256 : medium.contentSha256();
    const totalPages = Math.ceil(medium.bytes / diskPageBytes);
    const pieces = function* (): Generator<Uint8Array> {
      let donePages = 0;
      for (const piece of medium.contents()) {
        yield piece;
        donePages += Math.ceil(piece.length / diskPageBytes);
        progress.update({ donePages, totalPages });
      }
    };
    await importBaseImage(store, baseImageName(sha256), pieces(), { key: await keyFromEnvironment() });
    return sha256;
  } finally {
    progress.done();
    waiting.done();
    medium.close();
  }
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
  const store = await openStore(storeUrl, { create: false });
  try {
    for (const [i, file] of files.entries()) {
      const request = open.requests[i];
      const fileSha256 = request?.base?.sha256;
      if (request === undefined || fileSha256 === undefined) continue;
      request.base = { sha256: await putDisk(store, file, fileSha256) };
    }
  } finally {
    await store.close();
  }
  return open.requests.map((request, n) => {
    const file = options[n];
    return file !== undefined && 'path' in file ? { ...request, title: basename(file.path) } : request;
  });
}

/** What starts the guest, in the store: firmware, or a kernel with its initrd. */
async function putStart(
  client: ClusterClient,
  source: Source,
  firmware: Awaited<ReturnType<typeof firmwareImage>> | undefined,
): Promise<Partial<BootDescription>> {
  if (firmware !== undefined)
    return { rom: await client.putBlob(firmware.rom), optionRomBytes: firmware.optionRomBytes };
  return {
    commandLine: source.commandLine,
    kernel: await client.putBlob(source.kernel ?? new Uint8Array(0)),
    ...(source.initrd === undefined ? {} : { initrd: await client.putBlob(source.initrd) }),
  };
}

/** Throws when no node could ever hold so much, as the cluster would, but before anything is copied. */
async function requireRoom(client: ClusterClient, memoryMiB: number): Promise<void> {
  let nodes: ClusterStatus['nodes'];
  try {
    ({ nodes } = await client.status());
  } catch (error) {
    if (isClusterError(error, 'UNREACHABLE')) return;
    throw error;
  }
  const hosts = nodes.flatMap(({ id, state, view }) =>
    view === undefined ? [] : [{ id, state, capacity: view.capacity }],
  );
  const why = whyNeverFits(memoryMiB, hosts);
  if (why !== undefined)
    throw new CliError(
      ExitCode.refused,
      `--memory: ${why}`,
      'give it less, or start a node with more (revenant node --memory-mib)',
    );
}

function networkOf({ net, publish }: Values<typeof createOptions>): Pick<VmSpec, 'network'> {
  if (net !== undefined) return { network: { name: net, publish } };
  if (publish.length > 0)
    throw new CliError(ExitCode.usage, '--publish: the VM is in no network', 'add --net NAME');
  return {};
}

/** Enters a VM into the protected list, with kernel, initrd and disks in the store. */
export async function createVm(
  client: ClusterClient,
  vmId: string,
  image: string | undefined,
  values: Values<typeof createOptions>,
): Promise<'node' | 'store'> {
  const network = networkOf(values);
  const asked = await guessMedium(
    given<Guessable & Pick<RunOptions, 'initrd' | 'append'>>({
      image,
      kernel: values.kernel,
      initrd: values.initrd,
      append: values.append,
      boot: values.boot,
      disks: [...values.disk, ...values.cdrom, ...values.floppy],
    }),
    say,
  );
  const { disks: media = [], boot: bootOrder } = asked;
  if (asked.image === undefined && asked.kernel === undefined && media.length === 0)
    throw new CliError(
      ExitCode.usage,
      'nothing to boot',
      'revenant vm create NAME IMAGE (revenant images lists the images, a disk image is one too), or --kernel FILE',
    );
  const startsDisks = asked.image === undefined && asked.kernel === undefined;
  const firmware = startsDisks ? await firmwareImage(values.bios, say) : undefined;
  const source = await findSource(asked, say);
  const memoryBytes =
    values.memory ?? source.memoryBytes ?? (startsDisks ? firmwareMemoryBytes : defaultMemoryBytes);
  // What no machine can have is refused before anything is copied.
  const cpu = { model: values.cpu, count: values.cpus };
  const memoryMiB = describeMachine({ memoryBytes, cpu }).memoryBytes / 2 ** 20;
  if (!values['no-start']) await requireRoom(client, memoryMiB);
  const disks = await putDisks(
    [...media, ...values['disk-size'].map((emptyBytes) => ({ emptyBytes }))],
    chosenStore(values),
  );
  const checkpoint = values['checkpoint-ms'];
  const quota = values['store-quota'] ?? null;
  const send = async (): Promise<'node' | 'store'> => {
    const description: BootDescription = {
      memoryBytes,
      ...(values.cpu === undefined ? {} : { cpu: values.cpu }),
      ...(values.cpus === undefined ? {} : { cpuCount: values.cpus }),
      ...(await putStart(client, source, firmware)),
      ...(bootOrder === undefined ? {} : { bootOrder }),
      ...(disks.length === 0 ? {} : { disks }),
    };
    const spec: VmSpec = {
      runtime: 'machine',
      description,
      memoryMiB,
      priority: values.priority,
      outputs: values.output,
      ...newRulesOf(values),
      ...(values.health === undefined ? {} : { health: values.health }),
      ...(values.standby === true ? { standby: true } : {}),
      ...(checkpoint === undefined ? {} : { checkpointMs: checkpoint }),
      ...(quota === null ? {} : { storeQuotaBytes: quota }),
      ...network,
    };
    return client.command({ type: 'vm-create', vmId, spec, start: !values['no-start'] });
  };
  try {
    return await send();
  } catch (error) {
    // What no VM refers to is collected, perhaps just now: then it is uploaded again.
    if (!isClusterError(error, 'BLOB_MISSING')) throw error;
    return send();
  }
}

export const command = define({
  words: ['NAME', '[IMAGE]'],
  about: `What it boots is IMAGE: an image by name (revenant images lists them) or a disk, disc or floppy image, which firmware starts; or --kernel; or,
without both, what is on --disk, --cdrom or --floppy.`,
  options: createOptions,
  examples: [
    'vm create web linux-cloud --memory 256M --priority 5 --store file:/srv/revenant',
    'vm create web linux-cloud --net lan --publish 8080:80 --store file:/srv/revenant',
    'vm create shop linux-cloud --output log --standby 1 --store file:/srv/revenant',
    'vm create old disk.qcow2 --cdrom debian.iso --boot cdrom,disk --store file:/srv/revenant',
    'vm create db --kernel bzImage --initrd initrd.gz --append "console=ttyS0" --disk db.img --store file:/srv/revenant',
  ],
  async run({ words, options }) {
    const [vmId = '', image] = words;
    await withCluster(options, async (client) => {
      const by = await createVm(client, vmId, image, options);
      await settled(client, { verb: 'create', vmId, by }, options);
    });
    return undefined;
  },
});
