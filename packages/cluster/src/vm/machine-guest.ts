// The emulator as a guest: a PC that boots a kernel, or goes on from a snapshot of one. Its first serial port is its console.
import {
  createMachine,
  pcMemoryMap,
  planKernel,
  restoreMachine,
  type DiskBacking,
  type Machine,
} from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { PageClient, type MachineSnapshot, type PageChannelEnds } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import type { DiskSpec } from './disks.ts';
import type { Guest, GuestStart } from './vm-runtime.ts';

/** `VmSpec.description` of runtime `machine`. Kernel and initrd are named by the SHA-256 of their bytes. */
export interface BootDescription {
  memoryBytes: number;
  kernel: string;
  initrd?: string;
  commandLine: string;
  disks?: DiskSpec[];
}

class MachineGuest implements Guest {
  readonly #machine: Machine;
  readonly #console: number[];

  constructor(machine: Machine, console: number[]) {
    this.#machine = machine;
    this.#console = console;
  }

  get instructions(): bigint {
    return this.#machine.instructions;
  }

  run(instructions: number): 'limit' | 'idle' | 'powered-off' {
    const { reason } = this.#machine.run({ instructions });
    switch (reason) {
      case 'limit':
      case 'paused':
      case 'breakpoint':
        return 'limit';
      case 'idle':
        return 'idle';
      case 'powerOff':
      case 'debugExit':
        return 'powered-off';
      case 'halted':
      case 'reset':
      case 'shutdown':
        throw new ClusterError('RUNTIME', `the guest ended: ${reason}`);
    }
  }

  snapshot(): MachineSnapshot {
    return this.#machine.snapshot();
  }

  input(bytes: Uint8Array): void {
    this.#machine.input({ kind: 'serial', port: 0, bytes });
  }

  drainOutput(): Uint8Array {
    return Uint8Array.from(this.#console.splice(0));
  }
}

/** The base images of disks, each page fetched when the guest first reads it. */
function backings(ends: PageChannelEnds | undefined): Record<string, DiskBacking> {
  if (ends === undefined) return {};
  const client = new PageClient(ends);
  return Object.fromEntries(
    Object.keys(ends.sources).map((name) => [name, { readPage: (page: number) => client.page(name, page) }]),
  );
}

export async function createGuest({
  description,
  snapshot,
  blobs,
  disks = [],
  bases,
}: GuestStart): Promise<Guest> {
  const console: number[] = [];
  const backends = {
    hash: nodeHash,
    disks: backings(bases),
    serial: (port: number, byte: number): void => {
      if (port === 0) console.push(byte);
    },
  };
  if (snapshot !== undefined)
    return new MachineGuest(await restoreMachine({ snapshot, backends, engine: nodeEngine }), console);
  const boot = description as BootDescription;
  const { memoryBytes, commandLine } = boot;
  const machine = await createMachine({
    description: {
      memoryBytes,
      disks: (boot.disks ?? []).map((disk) => ({ ...disk, base: disk.base ?? null })),
    },
    backends,
    engine: nodeEngine,
  });
  for (const disk of machine.disks) {
    const saved = disks.find(({ name }) => name === disk.name);
    if (saved !== undefined) disk.restore(disk.check(saved));
  }
  const blob = (hash: string): Uint8Array => {
    const bytes = blobs.get(hash);
    if (bytes === undefined) throw new ClusterError('NOT_FOUND', `the store has no image ${hash}`);
    return bytes;
  };
  const rsdpAddress = machine.rsdpAddress;
  const plan = planKernel(
    {
      kernel: blob(boot.kernel),
      ...(boot.initrd === undefined ? {} : { initrd: blob(boot.initrd) }),
      commandLine,
      longMode: true,
    },
    { memoryMap: pcMemoryMap(memoryBytes), ...(rsdpAddress === undefined ? {} : { rsdpAddress }) },
  );
  machine.boot(plan);
  return new MachineGuest(machine, console);
}
