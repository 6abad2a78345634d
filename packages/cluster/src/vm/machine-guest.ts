/** The emulator as a guest: a PC that boots a kernel, or goes on from a snapshot of one. Its first serial port is its console. */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  createMachine,
  DisplayWatcher,
  hostedDevices,
  type AbsentPages,
  keyCodes,
  LivePace,
  PageBuffers,
  pcMemoryMap,
  planBootSector,
  planKernel,
  planRom,
  restoreMachine,
  uartBacklogLimit,
  type BootDevice,
  type DiskBacking,
  OutputQueue,
  picturePixels,
  hasLongMode,
  type CpuModelName,
  type HashFactory,
  type InputOf,
  type InputResult,
  type LoggedInput,
  type Machine,
  type MachineBackends,
  type MachineInput,
  type RunReason,
  type StampedOutput,
  type TextScreen,
} from '@revenant/emulator';
import { nodeClock, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import type { MachineSnapshot } from '@revenant/storage';
// Not the whole of network and storage: each VM's thread loads what it imports.
import { splitFrame } from '@revenant/network/split';
import { PageClient } from '@revenant/storage/page-channel';
import { ClusterError } from '../errors.ts';
import { machineDisk, type DiskSpec } from './disks.ts';
import type { Cut } from './standby/comparison.ts';
import { FollowingMachine } from './standby/following-machine.ts';
import type { LiveDebugger } from '@revenant/debugger';
import {
  monotonicMs,
  type Blobs,
  type DebuggerEnds,
  type Further,
  type Guest,
  type GuestDebugger,
  type GuestStart,
  type Look,
  type Replay,
} from './vm-runtime.ts';

/** `VmSpec.description` of runtime `machine`. Kernel, initrd and ROM are named by the SHA-256 of their bytes. */
export interface BootDescription {
  memoryBytes: number;
  /** Started directly, with these two. Absent: firmware starts what is on the disks. */
  kernel?: string;
  initrd?: string;
  commandLine?: string;
  /** The firmware: the VGA BIOS in its first `optionRomBytes`, the BIOS up to its end. */
  rom?: string;
  optionRomBytes?: number;
  bootOrder?: BootDevice[];
  /** Of the board `pc`; absent: 2 with firmware, and where a disk is attached otherwise than by virtio, else 1. */
  boardVersion?: number;
  /** The processor's model; absent: x86-64-v2. */
  cpu?: CpuModelName;
  /** How many processors; absent: 1. */
  cpuCount?: number;
  disks?: DiskSpec[];
}

const mtu = 1500;

/** What went in and came out since it was last taken. */
interface Edge {
  outputs: OutputQueue;
  /** Undefined: nobody keeps it. */
  log: LoggedInput[] | undefined;
}

class MachineGuest implements Guest {
  readonly #machine: Machine;
  readonly #edge: Edge;
  /** Absent pages of RAM that were fetched since the last delivery. */
  readonly #touched: number[];
  readonly #pace: LivePace;
  readonly #buffers = new PageBuffers();
  #watcher = new DisplayWatcher();
  readonly #following: FollowingMachine;
  /** Its next snapshot is to be whole. */
  #fullNext = false;
  #debugger: LiveDebugger | undefined;
  exitStatus: number | undefined;

  constructor(machine: Machine, edge: Edge, touched: number[], replay: Replay | undefined) {
    this.#machine = machine;
    this.#pace = new LivePace(machine, nodeClock);
    this.#edge = edge;
    this.#touched = touched;
    this.#following = new FollowingMachine(machine, this.#buffers, replay);
  }

  get instructions(): bigint {
    return this.#machine.instructions;
  }

  get diskRequests(): number {
    return this.#machine.disks.reduce((sum, { requests }) => sum + requests, 0);
  }

  get absentPages(): number {
    return this.#machine.absentPages;
  }

  get waitsMs(): number {
    return this.#pace.waitsMs;
  }

  run(instructions: number): ReturnType<Guest['run']> {
    const { most, leaves } = this.#debugger?.turn(instructions) ?? { most: instructions, leaves: false };
    const result = this.#pace.turn(most, leaves);
    this.#debugger?.ran(result);
    this.exitStatus = result.status;
    return whatItMeans(result.reason);
  }

  async debug(ends: DebuggerEnds): Promise<GuestDebugger> {
    // Few VMs are ever debugged: their threads load no debugger.
    const { LiveDebugger } = await import('@revenant/debugger');
    const machine = this.#machine;
    const session = new LiveDebugger({ ...ends, machine, clock: monotonicMs, breathe: () => nextTurn() });
    this.#debugger = session;
    return {
      get stopped() {
        return session.stopped;
      },
      receive: (bytes) => session.receive(bytes),
      settled: () => session.settled(),
      end: async () => {
        this.#debugger = undefined;
        await session.end();
      },
    };
  }

  follow(instructions: number): ReturnType<Guest['run']> | 'end' {
    const reason = this.#following.run(instructions);
    return reason === 'end' ? 'end' : whatItMeans(reason);
  }

  further(further: Further): void {
    this.#following.further(further);
  }

  sums(): Omit<Cut, 'cut'> {
    return this.#following.sums();
  }

  cuts(): Cut[] {
    return this.#following.cuts();
  }

  leads(since: number | undefined): void {
    this.#fullNext = this.#following.leads(since);
  }

  snapshot(): MachineSnapshot {
    const full = this.#fullNext;
    this.#fullNext = false;
    return this.#machine.snapshot({ full, buffers: this.#buffers });
  }

  giveBack(buffers: readonly SharedArrayBuffer[]): void {
    for (const buffer of buffers) this.#buffers.giveBack(buffer);
  }

  deliver(indexes: Uint32Array, bytes: Uint8Array): number[] {
    this.#machine.deliver(indexes, bytes);
    return this.#touched.splice(0);
  }

  accessed(): Uint32Array {
    return this.#machine.takeAccessed();
  }

  input(input: MachineInput): InputResult {
    // A key that no keyboard has is refused as one for a machine without keyboard is.
    if (input.kind === 'key' && !keyCodes.includes(input.code)) return 'no-device';
    // All of it or nothing: what waited beside the machine would be in no checkpoint.
    if (input.kind === 'serial') {
      const unread = this.#machine.serialPort(input.port)?.unread ?? 0;
      if (unread + input.bytes.length > uartBacklogLimit) return 'full';
    }
    if (['key', 'mouse', 'tablet'].includes(input.kind) && !this.#machine.hasRoom(input)) return 'full';
    if (input.kind === 'console') return this.#machine.offer(input);
    return input.kind === 'frame' ? this.#frame(input) : this.#machine.input(input);
  }

  /** A segment that its driver does not take whole is cut, as a card would. */
  #frame({ nic, bytes }: InputOf<'frame'>): InputResult {
    const most = this.#machine.frameBytes(nic);
    const parts = bytes.length <= most || most === 0 ? [bytes] : splitFrame(bytes, most);
    let result: InputResult = 'taken';
    for (const part of parts) result = this.#machine.input({ kind: 'frame', nic, bytes: part });
    return result;
  }

  boot(description: unknown, blobs: Blobs): void {
    bootMachine(this.#machine, description as BootDescription, blobs);
  }

  rest(): void {
    this.#pace.rest();
  }

  advance(changes: MachineSnapshot, generation: Uint8Array): void {
    this.#machine.advance(changes);
    this.resumed(generation);
  }

  /** The guest can tell resumes apart by its generation ID, draws other random numbers in each, and finds the right time in its RTC. */
  resumed(generation: Uint8Array): void {
    const machine = this.#machine;
    machine.input({ kind: 'generation', generation: Buffer.from(generation).readBigUInt64LE() });
    machine.input({ kind: 'entropy', bytes: randomBytes(entropyBytes) });
    machine.input({ kind: 'wallClock', epochNs: BigInt(Date.now()) * 1_000_000n });
  }

  screen(): TextScreen | undefined {
    return this.#machine.screen();
  }

  look(fresh: boolean): Look {
    if (fresh) this.#watcher = new DisplayWatcher();
    const seen = this.#machine.display.watch(this.#watcher);
    const tablet = this.#machine.takesTablet;
    if (seen === undefined) return { width: 0, height: 0, changed: [], pixels: new Uint8Array(0), tablet };
    const { picture, changed } = seen;
    return {
      width: picture.width,
      height: picture.height,
      changed,
      pixels: picturePixels(picture, changed),
      tablet,
    };
  }

  outputs(): StampedOutput[] {
    return this.#edge.outputs.take();
  }

  keepLog(on: boolean): void {
    this.#edge.log = on ? (this.#edge.log ?? []) : undefined;
  }

  takeLog(): LoggedInput[] {
    return this.#edge.log?.splice(0) ?? [];
  }
}

function whatItMeans(reason: RunReason): ReturnType<Guest['run']> {
  switch (reason) {
    case 'limit':
    case 'paused':
    case 'breakpoint':
    case 'watchpoint':
      return 'limit';
    case 'idle':
      return 'idle';
    case 'powerOff':
    case 'debugExit':
      return 'powered-off';
    case 'reset':
      return 'reset';
    case 'halted':
    case 'shutdown':
      return 'halted';
  }
}

/** The base images of disks, each page fetched when the guest first reads it. */
function backings(client: PageClient | undefined, names: readonly string[]): Record<string, DiskBacking> {
  if (client === undefined) return {};
  return Object.fromEntries(
    names.map((name) => [
      name,
      { readPage: (page: number) => client.page(name, page), pageCount: client.pageCount(name) },
    ]),
  );
}

/** Pages of RAM that come when the guest touches them, and are put on the list `touched` then. */
function absentPages(
  { absentRam }: GuestStart,
  client: PageClient | undefined,
  touched: number[],
): AbsentPages | undefined {
  if (absentRam === undefined || client === undefined) return undefined;
  const read = (page: number): Uint8Array => {
    touched.push(page);
    return client.page('ram', page) ?? new Uint8Array(4096);
  };
  return { indexes: absentRam, read };
}

/** As much as any generator's key. */
const entropyBytes = 32;

/** The guest of one start or resume. */
export async function createGuest(start: GuestStart): Promise<Guest> {
  const edge: Edge = { outputs: new OutputQueue(), log: start.keepLog === true ? [] : undefined };
  const touched: number[] = [];
  const client = start.pages === undefined ? undefined : new PageClient(start.pages);
  const backends = {
    hash: nodeHash,
    disks: backings(client, Object.keys(start.pages?.sources ?? {})),
    output: (entry: StampedOutput) => edge.outputs.put(entry),
    input: (entry: LoggedInput) => void edge.log?.push(entry),
  };
  const { snapshot } = start;
  const machine =
    snapshot === undefined
      ? await coldStart(start, backends)
      : await restoreMachine({
          snapshot,
          absent: absentPages(start, client, touched),
          backends,
          engine: nodeEngine,
        });
  return new MachineGuest(machine, edge, touched, start.replay);
}

/** mov cx, 0xffff; push ax; pop ax; loop back to the push; jump to itself */
const warmUpCode = [0xb9, 0xff, 0xff, 0x50, 0x58, 0xe2, 0xfc, 0xeb, 0xfe];

/** Runs a few instructions on a small machine, and on its restored twin: V8 has compiled the processor when a guest needs it. */
export async function prepare(): Promise<void> {
  const parts = { backends: { hash: nodeHash }, engine: nodeEngine };
  const machine = await createMachine({ ...parts, description: { memoryBytes: 2 ** 20 } });
  const sector = new Uint8Array(512);
  sector.set(warmUpCode);
  sector.set([0x55, 0xaa], 510);
  machine.boot(planBootSector(sector));
  machine.run({ instructions: 100_000 });
  const twin = await restoreMachine({ ...parts, snapshot: machine.snapshot() });
  twin.run({ instructions: 1000 });
}

async function coldStart(
  { description, blobs, disks = [], nic }: GuestStart,
  backends: MachineBackends & { hash: HashFactory },
): Promise<Machine> {
  const boot = description as BootDescription;
  const { memoryBytes, bootOrder, cpu, cpuCount, optionRomBytes, rom, disks: attached = [] } = boot;
  const needsFullPc = rom !== undefined || attached.some(({ attach }) => attach !== undefined);
  const { boardVersion = needsFullPc ? 2 : 1 } = boot;
  const machine = await createMachine({
    description: {
      memoryBytes,
      boardVersion,
      cpu: { model: cpu, count: cpuCount },
      ...(rom === undefined ? {} : { romBytes: blobOf(blobs, rom).length }),
      ...(optionRomBytes === undefined ? {} : { optionRomBytes }),
      ...(bootOrder === undefined ? {} : { bootOrder }),
      tripleFault: 'reset',
      devices: [...hostedDevices],
      disks: attached.map(machineDisk),
      networkCards: nic === undefined ? [] : [{ mac: nic.mac, mtu: mtu }],
    },
    backends,
    engine: nodeEngine,
  });
  for (const disk of machine.disks) {
    const saved = disks.find(({ name }) => name === disk.name);
    if (saved !== undefined) disk.restore(disk.check(saved));
  }
  bootMachine(machine, boot, blobs);
  return machine;
}

/** What a description names by hash. */
function blobOf(blobs: Blobs, hash: string): Uint8Array {
  const bytes = blobs.get(hash);
  if (bytes === undefined) throw new ClusterError('NOT_FOUND', `the store has no image ${hash}`);
  return bytes;
}

/** Puts firmware, or kernel and command line, into the memory of a machine that was just made or reset. */
function bootMachine(machine: Machine, boot: BootDescription, blobs: Blobs): void {
  if (boot.kernel === undefined) {
    if (boot.rom === undefined)
      throw new ClusterError('RUNTIME', 'its description has neither kernel nor firmware');
    machine.boot(planRom(blobOf(blobs, boot.rom)));
    return;
  }
  const rsdpAddress = machine.rsdpAddress;
  const plan = planKernel(
    {
      kernel: blobOf(blobs, boot.kernel),
      ...(boot.initrd === undefined ? {} : { initrd: blobOf(blobs, boot.initrd) }),
      commandLine: boot.commandLine ?? '',
      longMode: hasLongMode(machine.description.cpu.model),
    },
    {
      memoryMap: pcMemoryMap(machine.description.memoryBytes),
      ...(rsdpAddress === undefined ? {} : { rsdpAddress }),
    },
  );
  machine.boot(plan);
}
