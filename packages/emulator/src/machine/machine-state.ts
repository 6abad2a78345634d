/** The whole state of a machine but its memory's dirty pages: what is saved, restored and hashed. */
import { Machine as MachineField, Region, pageBytes } from '../cpu/layout.ts';
import { i64 } from '../devices/schema.ts';
import type { VirtualClock } from './clock.ts';
import { cpuStateSchema, type CpuState } from './cpu-state.ts';
import type { AbsentPages } from './absent-pages.ts';
import type { DiskSpace } from './disk-space.ts';
import type { EngineCore } from './engine-interface.ts';
import type { MachineEdge } from './edge/edge.ts';
import { MachineError } from './errors.ts';
import { hashValue, toHex, type Hash } from './hash.ts';
import type { MemoryMap } from './memory-map.ts';
import type { Board } from './boards/board.ts';
import { checkShape, checkSpace, isZeroPage, restoreSpace, type MachineSnapshot } from './snapshot.ts';
import { machineState } from './time-state.ts';
import { turnsState, type Turns, type TurnsState } from './turns.ts';

const randomState = Region.machine + MachineField.randomState;

/** Fills the state behind RDRAND; the two words differ and are never both 0. */
export function seedRandom(map: MemoryMap, seed: bigint): void {
  map.view.setBigUint64(randomState, BigInt.asUintN(64, seed), true);
  map.view.setBigUint64(randomState + 8, BigInt.asUintN(64, seed * 0x9e37_79b9_7f4a_7c15n + 1n), true);
}

/** Stirs bytes into the state behind RDRAND; the two words never become both 0. */
export function stirRandom(map: MemoryMap, bytes: Uint8Array): void {
  const words: [bigint, bigint] = [
    map.view.getBigUint64(randomState, true),
    map.view.getBigUint64(randomState + 8, true),
  ];
  for (const byte of bytes) {
    // FNV-1a over both words in turn: every bit of the input reaches them.
    const mixed = BigInt.asUintN(64, (words[0] ^ BigInt(byte)) * 0x100_0000_01b3n);
    words[0] = words[1];
    words[1] = mixed;
  }
  map.view.setBigUint64(randomState, words[0], true);
  map.view.setBigUint64(randomState + 8, words[1] === 0n && words[0] === 0n ? 1n : words[1], true);
}

export interface KeptState {
  devices: MachineSnapshot['devices'];
  inputs: ReturnType<MachineEdge['inputs']['save']>;
  outputs: ReturnType<MachineEdge['outputs']['save']>;
  turns: TurnsState;
}

export interface MachineStateParts {
  map: MemoryMap;
  disks: readonly DiskSpace[];
  turns: Turns;
  clock: VirtualClock;
  board: Board;
  edge: MachineEdge;
}

export class MachineState {
  readonly #parts: MachineStateParts;

  constructor(parts: MachineStateParts) {
    this.#parts = parts;
  }

  #deviceStates(): MachineSnapshot['devices'] {
    const states: MachineSnapshot['devices'] = {};
    for (const device of this.#parts.board.devices)
      states[device.name] = { version: device.version, state: device.save() };
    return states;
  }

  #cpuStates(): CpuState[] {
    return this.#parts.turns.all.map(({ block }) => block.save());
  }

  /** Whose turn it is, of several. */
  #turnsState(): MachineSnapshot['devices'] {
    const { turns } = this.#parts;
    if (turns.all.length === 1) return {};
    return { turns: { version: turnsState.version, state: turns.save() } };
  }

  #randomWord(offset: number): bigint {
    return this.#parts.map.view.getBigInt64(randomState + offset, true);
  }

  /** Devices and streams as they are now: what of a bookmark is neither memory nor in the linear memory's blocks. */
  keep(): KeptState {
    const { edge, turns } = this.#parts;
    return {
      devices: this.#deviceStates(),
      inputs: edge.inputs.save(),
      outputs: edge.outputs.save(),
      turns: turns.save(),
    };
  }

  putBack({ devices, inputs, outputs, turns }: KeptState): void {
    const { board, edge } = this.#parts;
    this.#parts.turns.restore(turns);
    edge.clear();
    edge.inputs.restore(inputs);
    edge.outputs.restore(outputs);
    for (const device of board.restoreOrder) {
      const entry = devices[device.name];
      device.restore(entry?.state, entry?.version ?? 0);
    }
  }

  /** All of a snapshot but description and spaces. */
  save(): Omit<MachineSnapshot, 'description' | 'spaces'> {
    const { clock, turns, edge } = this.#parts;
    const time = machineState.save({
      baseNs: clock.baseNs,
      baseCount: clock.baseCount,
      rate: clock.rate,
      random0: this.#randomWord(0),
      random1: this.#randomWord(8),
      inputs: edge.inputs.save(),
      outputs: edge.outputs.save(),
    });
    return {
      cpus: this.#cpuStates(),
      devices: {
        ...this.#deviceStates(),
        ...this.#turnsState(),
        machine: { version: machineState.version, state: time },
      },
      instructions: turns.instructions,
      virtualTimeNs: clock.now(),
    };
  }

  /** Adds everything in its canonical form (how time is written down may differ; the time itself may not) and ends the hash. */
  hash(hash: Hash): string {
    const { clock, turns, map } = this.#parts;
    hashValue(hash, {
      instructions: turns.instructions,
      timeNs: clock.now(),
      fraction: clock.fraction,
      rate: clock.rate,
      random: [this.#randomWord(0), this.#randomWord(8)],
      cpus: this.#cpuStates(),
      devices: { ...this.#deviceStates(), ...this.#turnsState() },
    });
    map.absent.pageInAll();
    for (const space of map.spaces) {
      hashValue(hash, space.name);
      for (let at = space.address; at < space.address + space.bytes; at += pageBytes) {
        if (isZeroPage(map, at)) continue;
        hashValue(hash, at - space.address);
        hash.update(map.bytes.subarray(at, at + pageBytes));
      }
    }
    for (const disk of this.#parts.disks) {
      hashValue(hash, disk.name);
      for (const { page, bytes } of disk.contents()) {
        hashValue(hash, page);
        hash.update(bytes);
      }
    }
    return toHex(hash.digest());
  }

  /**
   * Checks the parts that can be checked beforehand, then replaces everything. Throws MachineError or DeviceStateError.
   * @param options `full`: the spaces are whole; else pages that are not listed stay as they are. `fresh`: all pages that are not zero are dirty.
   */
  restore(
    snapshot: MachineSnapshot,
    options: { core: EngineCore; full: boolean; fresh: boolean; absent?: AbsentPages | undefined },
  ): void {
    const { core, full, fresh, absent } = options;
    const { map, disks, turns, clock, board, edge } = this.#parts;
    checkShape(snapshot, turns.all.length);
    const instructions = i64.copy(snapshot.instructions, 'instructions');
    const pages = map.spaces.map((space) => ({
      space,
      saved: checkSpace(
        space,
        snapshot.spaces.find(({ name }) => name === space.name),
        full,
      ),
    }));
    const contents = disks.map((disk) => ({
      disk,
      saved: disk.check(
        snapshot.spaces.find(({ name }) => name === disk.name),
        full,
      ),
    }));
    const cpuStates = snapshot.cpus.map((state) => cpuStateSchema.copy(state, 'cpu'));
    const { turns: savedTurns } = snapshot.devices;
    const turn =
      turns.all.length === 1 ? undefined : turns.check(savedTurns?.state, savedTurns?.version ?? 0);
    const machine = snapshot.devices['machine'];
    const time = machineState.restore(machine?.state, machine?.version ?? 0);
    if (full) map.absent.clear();
    else map.absent.pageInAll();
    for (const { space, saved } of pages) restoreSpace(map, space, saved, fresh);
    if (absent !== undefined) map.absent.set(absent);
    for (const { disk, saved } of contents) disk.restore(saved);
    for (const { block } of turns.all) block.setRetired(instructions);
    if (turn !== undefined) turns.restore(turn);
    clock.setBase({ ns: time.baseNs, count: time.baseCount, rate: time.rate });
    map.view.setBigInt64(randomState, time.random0, true);
    map.view.setBigInt64(randomState + 8, time.random1, true);
    edge.clear();
    edge.inputs.restore(time.inputs);
    edge.outputs.restore(time.outputs);
    turns.all.forEach(({ block }, n) => {
      const state = cpuStates[n];
      if (state !== undefined) block.restore(state);
      core.updateMode(block.address);
    });
    for (const device of board.restoreOrder) {
      const entry = snapshot.devices[device.name];
      if (typeof entry !== 'object' || entry === null)
        throw new MachineError(
          'MACHINE_SNAPSHOT_INVALID',
          `snapshot: device ${device.name} is missing`,
          'use a snapshot made for this machine',
        );
      device.restore(entry.state, entry.version);
    }
    for (const { block } of turns.all) core.flushTlbAll(block.address);
  }
}
