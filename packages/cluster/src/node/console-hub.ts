/**
 * Consoles of the VMs of one node: the last output of each, and who listens. Each piece carries its epoch: whoever has seen a
 * higher one drops it. Each byte has its number in the VM's life, and each epoch says how it goes
 * on from what was let out before it: so whoever listens through failovers knows what it has already.
 */
import type { TailState } from '../vm/console-tail.ts';
import type { Resumed } from '../vm/resume.ts';

export interface ConsolePiece {
  vmId: string;
  epoch: number;
  resumed: Resumed;
  /** Number of its first byte, counted from the VM's boot. */
  at: number;
  bytes: Uint8Array;
}

const maxKeptBytes = 64 << 10;

interface Kept {
  epoch: number;
  resumed: Resumed;
  pieces: ConsolePiece[];
  sizeBytes: number;
}

export class ConsoleHub {
  readonly #kept = new Map<string, Kept>();
  readonly #listeners = new Map<string, Set<(piece: ConsolePiece) => void>>();

  /** An epoch begins here. `tail`: the end of what was written before it. */
  begin(
    vmId: string,
    epoch: number,
    { resumed, tail }: { resumed: Resumed; tail: TailState | undefined },
  ): void {
    const earlier = this.#kept.get(vmId);
    // What is the same is in the tail again; older pieces would leave a gap before it.
    const keeps = earlier !== undefined && resumed !== 'exact' && tail === undefined;
    const [pieces, sizeBytes] = keeps ? [earlier.pieces, earlier.sizeBytes] : [[], 0];
    // It was written before the state that is gone on from, so whoever heard it need not hear it again.
    const before = resumed === 'earlier' ? 'exact' : resumed;
    const begun = { epoch, resumed: tail === undefined ? resumed : before, pieces, sizeBytes };
    this.#kept.set(vmId, begun);
    if (tail === undefined) return;
    this.put(vmId, epoch, tail);
    begun.resumed = resumed;
    if (resumed === 'earlier')
      this.put(vmId, epoch, { at: tail.at + tail.bytes.length, bytes: new Uint8Array(0) });
  }

  put(vmId: string, epoch: number, { at, bytes }: TailState): void {
    const kept = this.#kept.get(vmId) ?? { epoch, resumed: 'boot' as const, pieces: [], sizeBytes: 0 };
    this.#kept.set(vmId, kept);
    const piece = { vmId, epoch, resumed: kept.resumed, at, bytes };
    kept.pieces.push(piece);
    kept.sizeBytes += bytes.length;
    while (kept.sizeBytes > maxKeptBytes && kept.pieces.length > 1)
      kept.sizeBytes -= kept.pieces.shift()!.bytes.length;
    for (const listener of this.#listeners.get(vmId) ?? []) listener(piece);
  }

  /** Forgets what VMs said that are gone: `isGone` is told the epoch in which it was last heard of. */
  forget(isGone: (vmId: string, epoch: number) => boolean): void {
    for (const [vmId, { epoch }] of this.#kept) if (isGone(vmId, epoch)) this.#kept.delete(vmId);
  }

  /** Hears what is kept and then what comes. Gives a function that ends it. */
  listen(vmId: string, listener: (piece: ConsolePiece) => void): () => void {
    for (const piece of this.#kept.get(vmId)?.pieces ?? []) listener(piece);
    const listeners = this.#listeners.get(vmId) ?? new Set();
    this.#listeners.set(vmId, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }
}
