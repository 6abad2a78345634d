/** The figures of a node's VMs over the last minutes, a sample a second: so that whoever opens a chart sees what was before. */
import { availableParallelism, loadavg } from 'node:os';
import type { NodeFigures, VmSample } from '../protocol/figures.ts';
import { maxSamples } from '../protocol/limits.ts';
import type { VmFigures } from '../vm/vm-figures.ts';
import { monotonicMs } from '../vm/vm-runtime.ts';
import { owned } from '../owned.ts';
import { hostMemory } from './memory.ts';

const sampleMs = 1000;
/** Of VMs that ran here, those with the newest samples. */
const maxKeptVms = 128;

export interface FigureSource {
  node: string;
  vms: () => readonly VmFigures[];
}

/** What is told of the node that follows it. */
function standbyOf({ standby }: VmFigures): Pick<VmSample, 'standby'> {
  if (standby === undefined) return {};
  const { node, condition, lagMs } = standby;
  return { standby: { node, condition, lagMs: Math.max(0, lagMs) } };
}

function sampleOf(node: string, vm: VmFigures, nowMs: number): VmSample {
  const { vmId, epoch, checkpoints, lastCheckpointAt, outputs } = vm;
  return {
    ...{ vmId, node, epoch, checkpoints },
    atMs: Date.now(),
    instructions: Number(vm.instructions),
    ...(checkpoints === 0 ? {} : { ageMs: Math.max(0, nowMs - lastCheckpointAt) }),
    pauseMs: vm.lastPauseMs,
    durableMs: vm.lastDurableMs,
    storedBytes: vm.lastStoredBytes,
    intervalMs: vm.checkpointIntervalMs,
    heldBytes: vm.heldBytes,
    heldOutputBytes: outputs.heldOutputBytes,
    logWaitingBytes: outputs.logWaitingBytes,
    ...standbyOf(vm),
  };
}

export class FigureHistory {
  readonly #source: FigureSource;
  readonly #kept = new Map<string, VmSample[]>();
  readonly #timer: NodeJS.Timeout;

  /** `failed`: told when the figures can't be had. */
  constructor(source: FigureSource, failed: (error: unknown) => void) {
    this.#source = source;
    this.#timer = setInterval(
      owned(() => this.sample(), failed),
      sampleMs,
    ).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  sample(): void {
    for (const sample of this.#vms()) {
      const samples = this.#kept.get(sample.vmId) ?? [];
      samples.push(sample);
      if (samples.length > maxSamples) samples.shift();
      // Behind all others: who is first ran here longest ago.
      this.#kept.delete(sample.vmId);
      this.#kept.set(sample.vmId, samples);
    }
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= maxKeptVms) return;
      this.#kept.delete(oldest);
    }
  }

  samplesOf(vmId: string): readonly VmSample[] {
    return this.#kept.get(vmId) ?? [];
  }

  now(): NodeFigures {
    const { totalBytes, freeBytes } = hostMemory();
    return {
      node: this.#source.node,
      load: loadavg()[0] ?? 0,
      processors: availableParallelism(),
      usedBytes: process.memoryUsage.rss(),
      hostFreeBytes: freeBytes,
      hostBytes: totalBytes,
      vms: this.#vms(),
    };
  }

  #vms(): VmSample[] {
    const now = monotonicMs();
    return this.#source.vms().map((vm) => sampleOf(this.#source.node, vm, now));
  }
}
