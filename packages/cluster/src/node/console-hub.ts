// Consoles of the VMs of one node: the last output of each, and who listens. Each piece carries its epoch: whoever has seen a
// higher one drops it (FAILOVER, "What must always hold", 1).
export interface ConsolePiece {
  vmId: string;
  epoch: number;
  /** How many bytes this node let out under this epoch before. */
  at: number;
  bytes: Uint8Array;
}

const MAX_KEPT_BYTES = 64 << 10;

interface Kept {
  pieces: ConsolePiece[];
  sizeBytes: number;
}

export class ConsoleHub {
  readonly #kept = new Map<string, Kept>();
  readonly #listeners = new Map<string, Set<(piece: ConsolePiece) => void>>();

  put(vmId: string, epoch: number, bytes: Uint8Array): void {
    const kept = this.#kept.get(vmId) ?? { pieces: [], sizeBytes: 0 };
    this.#kept.set(vmId, kept);
    const last = kept.pieces.at(-1);
    const piece = { vmId, epoch, at: last?.epoch === epoch ? last.at + last.bytes.length : 0, bytes };
    kept.pieces.push(piece);
    kept.sizeBytes += bytes.length;
    while (kept.sizeBytes > MAX_KEPT_BYTES && kept.pieces.length > 1)
      kept.sizeBytes -= kept.pieces.shift()!.bytes.length;
    for (const listener of this.#listeners.get(vmId) ?? []) listener(piece);
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
