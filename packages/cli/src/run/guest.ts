/** From the options of `revenant run` to a machine that is ready to go. */
import { readFile } from 'node:fs/promises';
import {
  createMachine,
  hasLongMode,
  hostedDevices,
  pcMemoryMap,
  planBootSector,
  planKernel,
  planRom,
  restoreMachine,
  type BootPlan,
  type EngineFactory,
  type Machine,
  type MachineBackends,
  type MachineParts,
  type MachineRequest,
} from '@revenant/emulator';
import { makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { builtinGuest, builtinName } from '../images/builtin.ts';
import { fetchImage, readImageFile } from '../images/image.ts';
import { requireImage } from '../images/named.ts';
import { openDisks, type OpenDisks } from './disks.ts';
import { guessMedium, loadFirmware, usesFirmware, type LoadedFirmware } from './firmware.ts';
import { networkCard } from './network-options.ts';
import type { RunOptions } from './options.ts';
import { openRestore, type Restoring } from './restore.ts';

export interface Source {
  kernel?: Uint8Array;
  initrd?: Uint8Array;
  commandLine: string;
  memoryBytes?: number;
}

/** Reads a file that the person named. */
export async function readInput(option: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CliError(
      ExitCode.badInput,
      `--${option}: can't read '${path}': ${messageOf(error)}`,
      'check the path',
      error,
    );
  }
}

async function imageSource(name: string, say: (line: string) => void): Promise<Source> {
  if (name === builtinName) return builtinGuest();
  await requireImage(name);
  const image = await fetchImage(name, say);
  const { commandLine, memoryMiB } = image.manifest;
  return {
    kernel: await readImageFile(image, 'kernel'),
    initrd: await readImageFile(image, 'initrd'),
    commandLine,
    memoryBytes: memoryMiB * 2 ** 20,
  };
}

export async function findSource(
  options: Pick<RunOptions, 'image' | 'kernel' | 'initrd' | 'append'>,
  say: (line: string) => void,
): Promise<Source> {
  const source: Source =
    options.image === undefined ? { commandLine: '' } : await imageSource(options.image, say);
  if (options.kernel !== undefined) source.kernel = await readInput('kernel', options.kernel);
  if (options.initrd !== undefined) source.initrd = await readInput('initrd', options.initrd);
  if (options.append !== undefined)
    source.commandLine = [source.commandLine, options.append].filter((part) => part !== '').join(' ');
  return source;
}

function describe(
  options: RunOptions,
  source: Source,
  rom: Uint8Array | undefined,
  { requests }: OpenDisks,
  firmware: LoadedFirmware | undefined,
): MachineRequest {
  const memoryBytes = options.memoryBytes ?? source.memoryBytes ?? firmware?.description.memoryBytes;
  const needsFullPc =
    requests.some(({ attach }) => attach !== undefined) || (options.nic ?? 'virtio') !== 'virtio';
  return {
    ...(needsFullPc ? { boardVersion: 2 } : {}),
    ...firmware?.description,
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    cpu: { model: options.cpu, count: options.cpuCount },
    ...(options.debugExitPort === undefined ? {} : { debugExitPort: options.debugExitPort }),
    ...(options.debugConsole === undefined ? {} : { debugConsolePorts: [options.debugConsole.port] }),
    ...(rom === undefined ? {} : { romBytes: rom.length }),
    ...(requests.length === 0 ? {} : { disks: requests }),
    ...(options.network === undefined ? {} : { networkCards: [networkCard(options)] }),
    devices: [...hostedDevices],
    epochNs: BigInt(Date.now()) * 1_000_000n,
  };
}

async function makePlan(options: RunOptions, source: Source, machine: Machine): Promise<BootPlan> {
  if (options.bootSector !== undefined)
    return planBootSector(await readInput('boot-sector', options.bootSector));
  const { model } = machine.description.cpu;
  return planKernel(
    {
      kernel: source.kernel ?? new Uint8Array(0),
      ...(source.initrd === undefined ? {} : { initrd: source.initrd }),
      commandLine: source.commandLine,
      longMode: hasLongMode(model),
    },
    {
      memoryMap: pcMemoryMap(machine.description.memoryBytes),
      ...(machine.rsdpAddress === undefined ? {} : { rsdpAddress: machine.rsdpAddress }),
    },
  );
}

/** A machine ready to run, and how to start it again when the guest resets it. */
export interface ReadyGuest {
  machine: Machine;
  /** Absent after --restore. */
  plan?: BootPlan;
  /** Makes the plan again, from the same files. Absent after --restore. */
  planAgain?: () => Promise<BootPlan>;
  /** After --restore: brings the pages of memory that come later. */
  restoring?: Restoring;
}

export type GuestBackends = MachineBackends & Pick<MachineParts['backends'], 'output' | 'input'>;

/** A checkpoint goes on with the processors that it was made with. */
function requireProcessors({ cpu, cpuCount }: RunOptions, description: unknown): void {
  const { model, count = 1 } = (description as MachineRequest).cpu ?? {};
  if (cpu !== undefined && model !== undefined && cpu !== model)
    throw new CliError(ExitCode.usage, `--cpu: the checkpoint has a ${model}`, 'leave --cpu out');
  if (cpuCount !== undefined && cpuCount !== count)
    throw new CliError(ExitCode.usage, `--cpus: the checkpoint has ${String(count)}`, 'leave --cpus out');
}

async function prepare(
  asked: RunOptions,
  backends: GuestBackends,
  say: (line: string) => void,
  engine: EngineFactory,
): Promise<ReadyGuest> {
  const withDisks = (disks: OpenDisks['backings']): GuestBackends & { hash: typeof nodeHash } => ({
    ...backends,
    hash: nodeHash,
    disks,
  });
  const options = await guessMedium(asked, say);
  if (options.restore !== undefined) {
    const { restore, store, disks } = options;
    const restoring = await openRestore({ restore, store, disks });
    const { snapshot, absent } = restoring;
    try {
      requireProcessors(options, snapshot.description);
      const machine = await restoreMachine({
        snapshot,
        absent,
        backends: withDisks(restoring.disks),
        engine,
      });
      return { machine, restoring };
    } catch (error) {
      await restoring.close();
      throw error;
    }
  }
  const source = await findSource(options, say);
  const firmware = usesFirmware(options) ? await loadFirmware(options, say) : undefined;
  const rom =
    firmware?.plan ?? (options.rom === undefined ? undefined : planRom(await readInput('rom', options.rom)));
  const disks = openDisks(options.disks ?? []);
  const machine = await createMachine({
    description: describe(options, source, rom?.rom, disks, firmware),
    backends: withDisks(disks.backings),
    engine,
  });
  const plan = rom ?? (await makePlan(options, source, machine));
  machine.boot(plan);
  return { machine, plan, planAgain: async () => rom ?? planOf(options, machine, say) };
}

/** How the machine starts what the options name; not firmware. */
export async function planOf(
  options: RunOptions,
  machine: Machine,
  say: (line: string) => void,
): Promise<BootPlan> {
  return makePlan(options, await findSource(options, say), machine);
}

/** Smaller buffers may be shared with other files. */
const leastReleasedBytes = 2 ** 20;

/**
 * Frees the files that the plan holds, at once: a kernel has 50 MB, and no collection of garbage may come while a guest waits. The
 * plan can't be used any more.
 */
export function release(plan: BootPlan): void {
  for (const { bytes } of plan.writes) {
    const { buffer } = bytes;
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= leastReleasedBytes) buffer.transfer(0);
  }
}

/** Makes the machine; what is wrong with the person's input becomes a CliError. */
export async function readyGuest(
  options: RunOptions,
  backends: GuestBackends,
  say: (line: string) => void,
  engine = makeNodeEngine({ kind: options.engine }),
): Promise<ReadyGuest> {
  try {
    return await prepare(options, backends, say, engine);
  } catch (error) {
    throw (await import('../failures.ts')).asCliError(error);
  }
}
