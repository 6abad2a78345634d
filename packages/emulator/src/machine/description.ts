/** The hardware a machine is made of: plain data that goes into checkpoints. Two machines with equal descriptions and inputs run alike. */
import { floppyFormat, floppyFormats } from '../devices/floppy/floppy-media.ts';
import { maxAhciPorts } from '../devices/ahci/ahci.ts';
import { MachineError } from './errors.ts';
import { maxCpus } from '../cpu/layout.ts';
import { maxRamBytes } from './memory-map.ts';

/** Processors by the names that descriptions have for them, older ones first. CPUID tells the guest exactly what each has. */
export const cpuModels = ['486', 'pentium', 'pentium3', 'x86-64', 'x86-64-v2', 'x86-64-v3'] as const;
/** Name of a processor model. */
export type CpuModelName = (typeof cpuModels)[number];
/** Whether a processor model runs 64-bit code. */
export const hasLongMode = (model: CpuModelName): boolean => model.startsWith('x86-64');

/** One disk, CD or floppy drive of a machine. */
export interface DiskDescription {
  /** `disk0`, `disk1`, …: the space of a checkpoint. */
  name: string;
  /** Whole sectors of 512 bytes, up to 1 TiB. */
  bytes: number;
  readOnly: boolean;
  /** The image below, by its contents; null = zeros. */
  base: { sha256: string } | null;
  /** How the guest sees it. The first medium of a CD or floppy drive is in it at power-on, others wait to be put in. Absent is `virtio`. */
  attach?: DiskAttachment;
}
export const diskAttachments = ['virtio', 'ide', 'ahci', 'cdrom', 'floppy'] as const;
/** To which controller a disk is attached. */
export type DiskAttachment = (typeof diskAttachments)[number];
/** What firmware may start from. */
export const bootDevices = ['disk', 'cdrom', 'floppy'] as const;
/** What firmware starts from. */
export type BootDevice = (typeof bootDevices)[number];
/** The newest version of each board. */
export const newestBoard = { pc: 2, microvm: 1 } as const;
/** How a disk is asked for: what is not given is `readOnly: false`, `base: null`. */
export type DiskRequest = Pick<DiskDescription, 'name' | 'bytes'> & Partial<DiskDescription>;

/** One network card of a machine. */
export interface NetworkCardDescription {
  /** Six bytes in hexadecimal with colons: `52:54:00:12:34:56`. */
  mac: string;
  /** The largest packet of the segment, in bytes: 68 to 65535. */
  mtu: number;
  /** Which card it is; absent is `virtio`. */
  model?: NetworkCardModel;
}
/** Network cards by the names that descriptions have for them. */
export const networkCardModels = ['virtio', 'e1000', 'rtl8139'] as const;
/** Name of a network card. */
export type NetworkCardModel = (typeof networkCardModels)[number];

/**
 * What a machine may have beyond what its board always has:
 * - `virtio-rng`: random numbers, into which the input `entropy` is stirred
 * - `msi-x`: virtio cards interrupt by messages where their drivers want it
 * - `discard`: virtio disks take discard and write-zeroes: what a guest has no use for takes no room
 * - `event-index`: virtio cards and their drivers tell each other by index when they want to be told (EVENT_IDX): fewer interrupts and notifications
 * - `virtio-console`: a second console, and a channel for a program in the guest
 * - `virtio-balloon`: pages that the guest does without (the input `balloon`)
 * - `virtio-tablet`: a pointer that knows its place on the screen (the input `tablet`); on `pc` 2, which has one
 * - `pvpanic`: a port by which a kernel reports its panic
 * - `vmgenid`, `vmclock`: pages by which a guest learns that it lives a second life (the input `generation`)
 */
export const optionalDevices = [
  'msi-x',
  'event-index',
  'discard',
  'virtio-rng',
  'virtio-console',
  'virtio-balloon',
  'virtio-tablet',
  'pvpanic',
  'vmgenid',
  'vmclock',
] as const;
/** Name of a device that a description may add. */
export type OptionalDevice = (typeof optionalDevices)[number];
/** What machines get that are run for people: their host has entropy for them, and may resume them more than once. */
export const hostedDevices: readonly OptionalDevice[] = [...optionalDevices];

/** All that a machine is, but for its state: the same description and inputs give the same run. A checkpoint has it. */
export interface MachineDescription {
  /** `pc`: i440FX/PIIX3 with keyboard, mouse, VGA and DMA. `microvm`: the same without these four. */
  machine: 'pc' | 'microvm';
  /**
   * Which version of the board, so that a checkpoint goes on with the hardware that it was made with. `pc` 2: each function of the chipset on
   * its own, IDE, floppy drive, VGA with graphics. `pc` 1, and descriptions that don't say: text display, virtio disks only.
   */
  boardVersion: number;
  /** `count` processors of that model, 1 to 16; absent is 1. */
  cpu: { model: CpuModelName; count?: number };
  /** A multiple of 1 MiB from 1 MiB to 3 GiB. */
  memoryBytes: number;
  /** Size of the firmware image that ends at 4 GiB; 0 = none (a kernel is started directly). */
  romBytes: number;
  /** How much of it, at its start, is the VGA BIOS; whole pages. */
  optionRomBytes: number;
  /** The order in which firmware tries to start from devices. */
  bootOrder: BootDevice[];
  /** 0 to 4 (COM1 to COM4). */
  serialPorts: number;
  /** Port of the debug exit device, or null. */
  debugExitPort: number | null;
  debugConsolePorts: number[];
  /** Virtio block devices, up to 8. Descriptions made before there were disks have none. */
  disks: DiskDescription[];
  /** Virtio network cards, up to 8. Descriptions made before there were any have none. */
  networkCards: NetworkCardDescription[];
  /** Descriptions made before there were any have none. */
  devices: OptionalDevice[];
  /** Virtual ns per instruction at power-on, 16.16 fixed point. */
  timeRate: number;
  /** Wall-clock time at power-on in ns since 1970, what the RTC shows. */
  epochNs: bigint;
  /** Seed of RDRAND. */
  randomSeed: bigint;
  /** What a triple fault does: reset the machine as a PC does, or end the run. */
  tripleFault: 'reset' | 'stop';
}

const mebibyte = 2 ** 20;
export const maxDisks = 8;
export const maxNetworkCards = 8;
/** 2^28 pages of 4 KiB, the most that a checkpoint's space has. */
const maxDiskBytes = 2 ** 40;
/** 4 ns: 250 million instructions a virtual second. */
const defaultRate = 4 << 16;
/** What a description has where it does not say. */
export const defaultDescription: MachineDescription = {
  machine: 'pc',
  boardVersion: 1,
  cpu: { model: 'x86-64-v2' },
  memoryBytes: 128 * mebibyte,
  romBytes: 0,
  optionRomBytes: 0,
  bootOrder: ['disk', 'cdrom', 'floppy'],
  serialPorts: 2,
  debugExitPort: null,
  debugConsolePorts: [0x402, 0xe9],
  disks: [],
  networkCards: [],
  devices: [],
  timeRate: defaultRate,
  epochNs: 1_700_000_000_000_000_000n,
  randomSeed: 0x5eed_5eed_5eed_5eedn,
  tripleFault: 'stop',
};

function refuse(what: string, hint: string): never {
  throw new MachineError('MACHINE_DESCRIPTION_INVALID', `machine description: ${what}`, hint);
}

function checkInteger(name: string, value: unknown, min: number, max: number): void {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    refuse(`${name} is ${String(value)}`, `give an integer from ${String(min)} to ${String(max)}`);
}

function checkWide(name: string, value: unknown): bigint {
  const wide = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof wide !== 'bigint' || BigInt.asIntN(64, wide) !== wide)
    refuse(`${name} is ${String(value)}`, 'give a 64-bit integer');
  return wide;
}

function checkMemory(memoryBytes: number): void {
  if (
    Number.isInteger(memoryBytes) &&
    memoryBytes % mebibyte === 0 &&
    memoryBytes >= mebibyte &&
    memoryBytes <= maxRamBytes
  )
    return;
  throw new MachineError(
    'MACHINE_MEMORY_SIZE',
    `a machine can't have ${String(memoryBytes)} bytes of memory`,
    'give whole MiB from 1M to 3072M',
  );
}

/** A description of which only what matters is given. */
export type MachineRequest = Partial<Omit<MachineDescription, 'disks' | 'cpu'>> & {
  disks?: readonly DiskRequest[];
  cpu?: { model?: CpuModelName | undefined; count?: number | undefined };
};

function checkAttachment({ attach = 'virtio', name, bytes }: DiskRequest, boardVersion: number): void {
  if (!diskAttachments.includes(attach))
    refuse(`${name} is attached to ${String(attach)}`, `use one of ${diskAttachments.join(', ')}`);
  if (attach !== 'virtio' && boardVersion < 2)
    refuse(`${name}: this board has no ${attach}`, 'use machine pc with boardVersion 2');
  if (attach === 'floppy' && floppyFormat(bytes) === undefined)
    refuse(
      `${name}: no floppy disk has ${String(bytes)} bytes`,
      `sizes are ${floppyFormats.map((one) => `${String(one.bytes / 1024)}K`).join(', ')}`,
    );
}

/** IDE has four places, of which CDs share one drive; floppy disks share one drive. */
function checkPlaces(disks: readonly DiskDescription[]): void {
  const count = (attach: DiskAttachment): number => disks.filter((disk) => disk.attach === attach).length;
  const places = count('cdrom') > 0 ? 3 : 4;
  if (count('ahci') > maxAhciPorts)
    refuse(
      `${String(count('ahci'))} AHCI disks`,
      `there is room for ${String(maxAhciPorts)}; attach others by virtio`,
    );
  if (count('ide') > places)
    refuse(
      `${String(count('ide'))} IDE disks`,
      `there is room for ${String(places)}; attach others by virtio`,
    );
}

function checkFirmware({ optionRomBytes, romBytes, bootOrder }: Omit<MachineDescription, 'disks'>): void {
  checkInteger('optionRomBytes', optionRomBytes, 0, romBytes);
  if (optionRomBytes % 4096 !== 0)
    refuse(`optionRomBytes is ${String(optionRomBytes)}`, 'give whole pages of 4096 bytes');
  if (
    !Array.isArray(bootOrder) ||
    bootOrder.some((one, n) => !bootDevices.includes(one) || bootOrder.indexOf(one) !== n)
  )
    refuse('bootOrder', `give a list of ${bootDevices.join(', ')}, each at most once`);
}

function describeDisks(given: readonly DiskRequest[], boardVersion: number): DiskDescription[] {
  if (!Array.isArray(given) || given.length > maxDisks)
    refuse('disks', `give a list of at most ${String(maxDisks)} disks`);
  const disks = given.map((disk: DiskRequest, n): DiskDescription => {
    const { name, bytes, readOnly = disk.attach === 'cdrom', base = null, attach } = disk;
    checkAttachment(disk, boardVersion);
    if (name !== `disk${String(n)}`)
      refuse(`disk ${String(n)} is called ${String(name)}`, `call it disk${String(n)}`);
    if (!Number.isInteger(bytes) || bytes <= 0 || bytes % 512 !== 0 || bytes > maxDiskBytes)
      refuse(`${name} has ${String(bytes)} bytes`, 'give whole sectors of 512 bytes, up to 1 TiB');
    if (typeof readOnly !== 'boolean')
      refuse(`${name}: readOnly is ${String(readOnly)}`, 'use true or false');
    if (base !== null && !/^[0-9a-f]{64}$/.test(base.sha256))
      refuse(`${name}: its base is named ${String(base.sha256)}`, 'give a SHA-256 in hexadecimal');
    const kept = attach === undefined || attach === 'virtio' ? {} : { attach };
    return { name, bytes, readOnly, base: base === null ? null : { sha256: base.sha256 }, ...kept };
  });
  checkPlaces(disks);
  return disks;
}

function describeNetworkCards(
  given: readonly NetworkCardDescription[],
  { machine, boardVersion }: Pick<MachineDescription, 'machine' | 'boardVersion'>,
): NetworkCardDescription[] {
  if (!Array.isArray(given) || given.length > maxNetworkCards)
    refuse('networkCards', `give a list of at most ${String(maxNetworkCards)} cards`);
  return given.map(({ mac, mtu, model = 'virtio' }: NetworkCardDescription, n) => {
    if (!networkCardModels.includes(model))
      refuse(`network card ${String(n)} is a ${String(model)}`, `use one of ${networkCardModels.join(', ')}`);
    if (model !== 'virtio' && (machine !== 'pc' || boardVersion < 2))
      refuse(`this board has no ${model}`, 'use machine pc with boardVersion 2');
    // The lowest bit of the first byte would make it the address of a group.
    if (!/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac))
      refuse(`network card ${String(n)} has the MAC ${mac}`, 'give six bytes as in 52:54:00:12:34:56');
    checkInteger('mtu', mtu, 68, 65_535);
    return { mac, mtu, ...(model === 'virtio' ? {} : { model }) };
  });
}

function describeProcessors({
  model = defaultDescription.cpu.model,
  count = 1,
}: NonNullable<MachineRequest['cpu']>): MachineDescription['cpu'] {
  if (!cpuModels.includes(model))
    refuse(`no processor is called ${String(model)}`, `use one of ${cpuModels.join(', ')}`);
  checkInteger('cpu.count', count, 1, maxCpus);
  if (count === 1) return { model };
  if (model === '486')
    refuse(
      `${String(count)} processors ${model}`,
      'it has no APIC to work with others; use pentium or a newer one',
    );
  return { model, count };
}

function checkDevices(devices: readonly OptionalDevice[]): void {
  if (!Array.isArray(devices) || new Set(devices).size < devices.length)
    refuse('devices', 'give a list that names each device once');
  for (const one of devices)
    if (!optionalDevices.includes(one))
      refuse(`no device is called ${String(one)}`, `use some of ${optionalDevices.join(', ')}`);
}

/** Fills in defaults and checks everything; throws MachineError. Unknown fields are refused. */
export function describeMachine(given: MachineRequest): MachineDescription {
  if (typeof given !== 'object' || given === null) refuse('not an object', 'see MachineDescription');
  const unknownName = Object.keys(given).find((name) => !(name in defaultDescription));
  if (unknownName !== undefined)
    refuse(`no field is called ${unknownName}`, `fields are ${Object.keys(defaultDescription).join(', ')}`);
  const cpu = describeProcessors(given.cpu ?? {});
  const all = { ...defaultDescription, ...given, cpu };
  if (all.machine !== 'pc' && all.machine !== 'microvm')
    refuse(`machine is ${String(all.machine)}`, 'use pc or microvm');
  checkInteger('boardVersion', all.boardVersion, 1, newestBoard[all.machine]);
  checkMemory(all.memoryBytes);
  if (
    !Number.isInteger(all.romBytes) ||
    all.romBytes % 4096 !== 0 ||
    all.romBytes < 0 ||
    all.romBytes > 16 * mebibyte
  )
    throw new MachineError(
      'MACHINE_ROM_SIZE',
      `a ROM can't have ${String(all.romBytes)} bytes`,
      'give whole 4 KiB pages up to 16M',
    );
  checkFirmware(all);
  checkInteger('serialPorts', all.serialPorts, 0, 4);
  if (all.debugExitPort !== null) checkInteger('debugExitPort', all.debugExitPort, 0, 0xfffc);
  if (!Array.isArray(all.debugConsolePorts) || all.debugConsolePorts.length > 8)
    refuse('debugConsolePorts', 'give a list of at most 8 ports');
  for (const port of all.debugConsolePorts) checkInteger('debugConsolePorts', port, 0, 0xffff);
  checkDevices(all.devices);
  checkInteger('timeRate', all.timeRate, 1, 0xffff_ffff);
  if (all.tripleFault !== 'reset' && all.tripleFault !== 'stop')
    refuse(`tripleFault is ${String(all.tripleFault)}`, 'use reset or stop');
  return {
    ...all,
    bootOrder: [...all.bootOrder],
    debugConsolePorts: [...all.debugConsolePorts],
    devices: [...all.devices],
    disks: describeDisks(all.disks, all.boardVersion),
    networkCards: describeNetworkCards(all.networkCards, all),
    epochNs: checkWide('epochNs', all.epochNs),
    randomSeed: checkWide('randomSeed', BigInt.asIntN(64, checkWideUnsigned(all.randomSeed))),
  };
}

function checkWideUnsigned(value: unknown): bigint {
  if (typeof value === 'bigint') return value;
  return checkWide('randomSeed', value);
}
