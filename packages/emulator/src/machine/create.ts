/** Makes a machine: memory, board, processor model, engine. */
import type { AbsentPages } from './absent-pages.ts';
import { installCpuModel } from '../cpu/cpuid-models.ts';
import { Region, cpuBlockBytes } from '../cpu/layout.ts';
import { vgaTextBytes } from '../devices/video/vga-text.ts';
import { videoMemoryBytes } from '../devices/video/vga-registers.ts';
import { describeMachine, type MachineRequest } from './description.ts';
import { DiskSpace } from './disk-space.ts';
import type { EngineFactory } from './engine-interface.ts';
import { Machine, type MachineParts } from './machine.ts';
import { MemoryMap } from './memory-map.ts';
import type { MachineSnapshot } from './snapshot.ts';

/** What a machine is made of: its description, the host that it has to do with, and the engine that runs it. */
export interface CreateMachineOptions {
  /** What is not given has the defaults of `defaultDescription`. */
  description: MachineRequest;
  backends?: MachineParts['backends'];
  /** For example `nodeEngine` of `@revenant/emulator/host-node`. */
  engine: EngineFactory;
}

/** A machine at its power-on state. Throws MachineError for a description that can't be built, or a disk's base image that is missing. */
export async function createMachine(options: CreateMachineOptions): Promise<Machine> {
  const machine = await buildMachine(options);
  for (const disk of machine.disks) disk.requireBase();
  return machine;
}

async function buildMachine({ description, backends = {}, engine }: CreateMachineOptions): Promise<Machine> {
  const full = describeMachine(description);
  const { model, count: cpuCount = 1 } = full.cpu;
  const memory = new MemoryMap({
    ramBytes: full.memoryBytes,
    romBytes: full.romBytes,
    cpuCount,
    vramBytes: full.machine !== 'pc' ? 0 : full.boardVersion < 2 ? vgaTextBytes : videoMemoryBytes,
  });
  for (let n = 0; n < cpuCount; n++)
    installCpuModel(memory.view, Region.cpuBlocks + n * cpuBlockBytes, model, { apicId: n, cpuCount });
  const disks = full.disks.map((disk) => new DiskSpace(disk, backends.disks?.[disk.name]));
  const machine = new Machine({ description: full, memory, disks, backends });
  machine.attachEngine(await engine({ memory: memory.memory, host: machine.host() }));
  return machine;
}

/** A machine that goes on where the snapshot was taken. Throws MachineError or DeviceStateError for one that can't be used. */
export async function restoreMachine(options: {
  snapshot: MachineSnapshot;
  /** Pages of RAM that the snapshot leaves out; see Machine.restore. */
  absent?: AbsentPages | undefined;
  backends?: MachineParts['backends'];
  engine: EngineFactory;
}): Promise<Machine> {
  const { snapshot, absent, ...others } = options;
  const machine = await buildMachine({
    ...others,
    description: snapshot.description as MachineRequest,
  });
  machine.restore(snapshot, absent);
  return machine;
}
