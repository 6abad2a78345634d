/** Options of `revenant run`, checked. */
import {
  bootDevices,
  cpuModels,
  maxCpus,
  networkCardModels,
  type BootDevice,
  type CpuModelName,
  type NetworkCardModel,
} from '@revenant/emulator';
import { flag, list, text, value, type Options, type Values } from '../command/options.ts';
import { count, ioPort, oneOf, size, wholeNumber } from '../command/values.ts';
import { CliError, ExitCode } from '../errors.ts';
import { parseVncPlace, vncRequest, type VncOption } from './vnc-options.ts';
import { parseDisc, parseDisk, parseFloppy, type DiskOption } from './disks.ts';
import {
  defaultMac,
  networkRequest,
  parseCardMac,
  parseHostPort,
  parseNetwork,
  parsePublish,
  type NetworkOption,
} from './network-options.ts';

export interface RunOptions {
  image?: string;
  kernel?: string;
  initrd?: string;
  append?: string;
  bootSector?: string;
  rom?: string;
  memoryBytes?: number;
  cpu?: CpuModelName;
  cpuCount?: number;
  /** `stdio`, `none`, or the path of a file. */
  serial: { kind: 'stdio' | 'none' } | { kind: 'file'; path: string };
  /** What virtual time follows. Default: `wall`, and `virtual` with `maxInstructions`. */
  clock?: 'wall' | 'virtual';
  maxInstructions?: bigint;
  save?: string;
  /** A checkpoint file, or `VM[@SEQUENCE]` in `store`. */
  restore?: string;
  /** URL. */
  store?: string;
  /** Files first, then empty disks. */
  disks?: DiskOption[];
  /** A BIOS instead of the one that is found. */
  bios?: string;
  boot?: BootDevice[];
  /** Where a picture of the display goes at the end. */
  screenshot?: string;
  debugExitPort?: number;
  debugConsole?: { port: number; path: string };
  /** What the end of piped input means. */
  atEof?: 'leave' | 'stay';
  engine: 'interpreter' | 'translator';
  network?: NetworkOption;
  vnc?: VncOption;
  /** Its text screen in the terminal, in place of its serial console. */
  display?: 'ansi';
  /** Which network card. */
  nic?: NetworkCardModel;
  /** Its address, in colon-separated bytes. */
  mac?: string;
  /** Boots, though an earlier run left a checkpoint of the booted image; leaves none. */
  cold?: boolean;
}

function usage(message: string, hint: string): CliError {
  return new CliError(ExitCode.usage, message, hint);
}

export function parseSerial(place: string, name: string): RunOptions['serial'] {
  if (place === 'stdio' || place === 'none') return { kind: place };
  if (place.startsWith('file:') && place.length > 5) return { kind: 'file', path: place.slice(5) };
  throw usage(`${name}: '${place}' is no place for the serial port`, 'give stdio, none or file:PATH');
}

function parseDebugConsole(pair: string, name: string): { port: number; path: string } {
  const at = pair.indexOf('=');
  if (at < 1 || at === pair.length - 1)
    throw usage(`${name}: '${pair}' is not PORT=FILE`, `for example ${name} 0x402=debug.log`);
  return { port: ioPort(pair.slice(0, at), name), path: pair.slice(at + 1) };
}

export function parseBootOrder(order: string, name: string): BootDevice[] {
  const parsed = order.split(',').map((one) => oneOf(bootDevices)(one, name));
  if (new Set(parsed).size < parsed.length)
    throw usage(`${name}: '${order}' names one device twice`, `for example ${name} cdrom,disk`);
  return parsed;
}

/** What to run, and the machine that runs it: of every command that runs a guest in its own process. */
export const guestOptions = {
  kernel: text('FILE', 'bzImage, ELF with a PVH note, or multiboot 1'),
  initrd: text('FILE', 'its initial RAM disk'),
  append: text('TEXT', "its command line (added to the image's own)"),
  'boot-sector': text('FILE', 'a raw boot sector, started at 0000:7C00'),
  rom: text('FILE', 'firmware that ends at 4 GiB'),
  restore: text(
    'CHECKPOINT',
    `go on from a checkpoint: a file, or VM, VM@SEQUENCE or VM@EPOCH-SEQUENCE of a store.
The guest runs at once; its memory comes as it is touched, and in the background, so
the checkpoint must stay until that is done. The cluster's VM is left as it is: this
is a copy of it`,
  ),
  store: text('URL', 'where --restore VM is (or REVENANT_STORE), for example file:/srv/revenant'),
  memory: value('SIZE', 'for example 256M (default 128M)', size),
  cpu: value('MODEL', '486, pentium, pentium3, x86-64, x86-64-v2 (default), x86-64-v3', oneOf(cpuModels)),
  cpus: value('N', `how many processors, 1 (default) to ${String(maxCpus)}`, wholeNumber(1, maxCpus)),
  disk: list(
    'FILE[,ro|,rw|,ide|,ahci]',
    `a disk image, raw or qcow2, as the next virtio disk (/dev/vda, …). The file is never
changed: what the guest writes is kept beside it and goes into the checkpoint. ro: the
guest can't write; rw: it writes to the file; ide or ahci: on that controller; backing: a
qcow2 image may lie on others in its folder`,
    parseDisk,
  ),
  cdrom: list('FILE', 'a disc for the CD drive (ISO 9660); the first one is in it', parseDisc),
  floppy: list('FILE[,ro|,rw]', 'a disk for the floppy drive; the first one is in it', parseFloppy),
  boot: value('ORDER', 'what firmware starts from, in order: disk, cdrom, floppy', parseBootOrder),
  bios: text('FILE', "a BIOS image instead of SeaBIOS from Debian's package"),
  'disk-size': list('SIZE', 'an empty disk, behind those of --disk, for example 64M', size),
  'debug-exit': value(
    'PORT',
    'a write of V to the port ends the run with exit code 2V + 1 (as isa-debug-exit)',
    ioPort,
  ),
  'debug-console': value(
    'PORT=FILE',
    'bytes written to the port go to the file (as isa-debugcon)',
    parseDebugConsole,
  ),
} satisfies Options;

/** How `revenant run` runs it. */
export const runOptions = {
  ...guestOptions,
  serial: value(
    'PLACE',
    "where the guest's serial console is: stdio (default), none or file:FILE",
    parseSerial,
    { kind: 'stdio' } as RunOptions['serial'],
  ),
  'at-eof': value(
    'leave|stay',
    `what the end of piped input means: leave (default) ends the run when the guest has read
all of it and then waits, silent, for five seconds; stay lets it go on. Input is held
until the guest reads its console; an empty input (/dev/null) ends nothing`,
    oneOf(['leave', 'stay']),
    'leave' as const,
  ),
  engine: value(
    'NAME',
    'translator (default) or interpreter; both reach the same states',
    oneOf(['translator', 'interpreter']),
    'translator' as const,
  ),
  clock: value(
    'NAME',
    `wall: the guest's clock follows this host's (default); virtual: so much time for each
instruction, as runs with --max-instructions have it`,
    oneOf(['wall', 'virtual']),
  ),
  net: value(
    'NETWORK',
    `none (default); user: a network of its own, by this process's sockets;
stream:unix:PATH or stream:HOST:PORT: a peer with QEMU's framing, such as passt;
vde:SWITCH: a switch of VDE; tap:NAME: a tap device of this host (both by vde_plug)`,
    parseNetwork,
  ),
  nic: value(
    'MODEL',
    'the network card of --net: virtio (default), or e1000 or rtl8139 for guests that know no virtio',
    oneOf(networkCardModels),
  ),
  mac: value(
    'MAC',
    `the address of the card (default ${defaultMac}); guests that meet by a peer need one each`,
    parseCardMac,
  ),
  publish: list(
    '[ADDRESS:]PORT:GUESTPORT[/udp]',
    `the guest's port at a port of this host (127.0.0.1 unless told otherwise); takes --net user`,
    parsePublish,
  ),
  'host-port': list(
    'PORT',
    "a port of this host's loopback that the guest reaches at 10.0.2.2",
    parseHostPort,
  ),
  cold: flag(
    `boots an IMAGE. Without, a run whose options an earlier one had, and no disks or network, goes on
where that one had booted (its checkpoint is in the cache for a week), with the clock it had then`,
  ),
  'max-instructions': value('N', 'stop after N instructions (exit code 12); idle time is skipped', count),
  save: text('FILE', 'write a checkpoint file at the end'),
  screenshot: text('FILE', 'a picture (PNG) of the display at the end'),
  display: value(
    'NAME',
    `ansi: its text screen is painted into this terminal, and what is typed is its keyboard; the
serial console then goes nowhere, unless --serial says where (default: none)`,
    oneOf(['none', 'ansi']),
    'none' as const,
  ),
  vnc: value(
    'HOST:PORT',
    'shows the display to VNC viewers there, for example 127.0.0.1:5900',
    parseVncPlace,
  ),
  'vnc-web': value('HOST:PORT', 'the same for viewers that are web pages, such as noVNC', parseVncPlace),
  'vnc-password-file': text('FILE', 'the password of both, of one to eight characters'),
} satisfies Options;

type GuestRequest = Omit<
  RunOptions,
  | 'network'
  | 'nic'
  | 'mac'
  | 'serial'
  | 'engine'
  | 'atEof'
  | 'clock'
  | 'maxInstructions'
  | 'save'
  | 'screenshot'
  | 'vnc'
  | 'display'
  | 'cold'
>;

/** Without the entries that are undefined. */
export function given<T extends object>(entries: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as T;
}

/** Checks that there is one thing to run. Throws CliError. */
export function guestRequest(values: Values<typeof guestOptions>, image: string | undefined): GuestRequest {
  const disks: DiskOption[] = [
    ...values.disk,
    ...values['disk-size'].map((emptyBytes) => ({ emptyBytes })),
    ...values.cdrom,
    ...values.floppy,
  ];
  const result = given<Required<GuestRequest>>({
    image,
    kernel: values.kernel,
    initrd: values.initrd,
    append: values.append,
    bootSector: values['boot-sector'],
    rom: values.rom,
    restore: values.restore,
    store: values.store,
    memoryBytes: values.memory,
    cpu: values.cpu,
    cpuCount: values.cpus,
    disks: disks.length === 0 ? undefined : disks,
    bios: values.bios,
    boot: values.boot,
    debugExitPort: values['debug-exit'],
    debugConsole: values['debug-console'],
  });
  if (values.store !== undefined && values.restore === undefined)
    throw usage(
      '--store: nothing is restored from it',
      'name a checkpoint with --restore VM or --restore VM@SEQUENCE',
    );
  const sources = [image, values.kernel, values['boot-sector'], values.rom, values.restore].filter(
    (source) => source !== undefined,
  );
  if (sources.length === 0 && disks.length === 0)
    throw usage(
      'nothing to run',
      'name an image (revenant images lists them) or a disk image, or give --kernel, --boot-sector, --rom or --restore',
    );
  if (sources.length > 1)
    throw usage('more than one thing to run', 'give one of IMAGE, --kernel, --boot-sector, --rom, --restore');
  return result;
}

/** What `revenant run` was asked for. Throws CliError for what makes no sense together. */
export function runRequest(values: Values<typeof runOptions>, image: string | undefined): RunOptions {
  const { serial, engine, save, screenshot } = values;
  // A disk that writes to its file is in no checkpoint.
  if (
    save !== undefined &&
    [...values.disk, ...values.floppy].some((disk) => 'mode' in disk && disk.mode === 'rw')
  )
    throw usage(
      '--save: a checkpoint would lack the disk that writes to its file',
      'leave rw out: then the changes go into the checkpoint',
    );
  const network = networkRequest(values.net, values.publish, values['host-port']);
  const rest = given<
    Required<
      Pick<
        RunOptions,
        | 'save'
        | 'screenshot'
        | 'clock'
        | 'maxInstructions'
        | 'network'
        | 'nic'
        | 'mac'
        | 'vnc'
        | 'display'
        | 'cold'
      >
    >
  >({
    save,
    screenshot,
    network,
    vnc: vncRequest(values),
    nic: values.nic,
    mac: values.mac,
    display: values.display === 'ansi' ? 'ansi' : undefined,
    clock: values.clock,
    cold: values.cold || undefined,
    maxInstructions: values['max-instructions'],
  });
  return {
    ...guestRequest(values, image),
    ...rest,
    serial: rest.display === 'ansi' && serial.kind === 'stdio' ? { kind: 'none' } : serial,
    engine,
    atEof: values['at-eof'],
  };
}
