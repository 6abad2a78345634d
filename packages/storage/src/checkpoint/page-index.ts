/**
 * Which contents are already stored: page hash → (pack, slot). An open-addressing table in typed arrays, because half a
 * million entries as strings in a Map cost several times the memory and the collector's time.
 */
import { pageHashBytes } from './page-codec.ts';

const words = pageHashBytes / 4;
const minCapacity = 1024;

export class PageIndex {
  #capacity = minCapacity;
  #keys = new Uint32Array(minCapacity * words);
  /** Pack ordinal; 0 marks a free entry. */
  #packs = new Uint32Array(minCapacity);
  #slots = new Uint32Array(minCapacity);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Where this content is, or undefined. `hash`: 8 words. */
  find(hash: Uint32Array): { pack: number; slot: number } | undefined {
    const at = this.#probe(hash);
    const pack = this.#packs[at]!;
    return pack === 0 ? undefined : { pack, slot: this.#slots[at]! };
  }

  /** Adds or replaces. `pack` must not be 0. */
  set(hash: Uint32Array, pack: number, slot: number): void {
    if (this.#size * 10 >= this.#capacity * 7) this.#grow();
    const at = this.#probe(hash);
    if (this.#packs[at] === 0) {
      this.#keys.set(hash, at * words);
      this.#size++;
    }
    this.#packs[at] = pack;
    this.#slots[at] = slot;
  }

  /** A table of only those entries whose pack is to be kept. */
  filtered(keep: (pack: number) => boolean): PageIndex {
    const kept = new PageIndex();
    this.forEach((hash, pack, slot) => {
      if (keep(pack)) kept.set(hash, pack, slot);
    });
    return kept;
  }

  /** Calls back for each entry. The hash is a view: copy it to keep it. */
  forEach(call: (hash: Uint32Array, pack: number, slot: number) => void): void {
    for (let at = 0; at < this.#capacity; at++) {
      const pack = this.#packs[at]!;
      if (pack !== 0) call(this.#keys.subarray(at * words, (at + 1) * words), pack, this.#slots[at]!);
    }
  }

  #probe(hash: Uint32Array): number {
    const mask = this.#capacity - 1;
    // The key is a cryptographic hash: any word of it is spread evenly.
    let at = hash[0]! & mask;
    while (this.#packs[at] !== 0 && !this.#holds(at, hash)) at = (at + 1) & mask;
    return at;
  }

  #holds(at: number, hash: Uint32Array): boolean {
    for (let i = 0; i < words; i++) if (this.#keys[at * words + i] !== hash[i]) return false;
    return true;
  }

  #grow(): void {
    const keys = this.#keys;
    const packs = this.#packs;
    const slots = this.#slots;
    const before = this.#capacity;
    this.#capacity *= 2;
    this.#keys = new Uint32Array(this.#capacity * words);
    this.#packs = new Uint32Array(this.#capacity);
    this.#slots = new Uint32Array(this.#capacity);
    this.#size = 0;
    for (let at = 0; at < before; at++)
      if (packs[at] !== 0) this.set(keys.subarray(at * words, (at + 1) * words), packs[at]!, slots[at]!);
  }
}
