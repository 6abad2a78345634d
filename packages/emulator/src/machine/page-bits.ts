/** Numbers of pages, a bit for each: however many are in it, it takes no JavaScript heap, whose end would be that of the whole process. */

const wordBits = 32;

export class PageBits {
  readonly #pageCount: number;
  readonly #words: Uint32Array;
  /** All bits lie in these words. */
  #from = Infinity;
  #to = 0;

  constructor(pageCount: number) {
    this.#pageCount = pageCount;
    this.#words = new Uint32Array(Math.ceil(pageCount / wordBits));
  }

  has(page: number): boolean {
    return ((this.#words[Math.floor(page / wordBits)] ?? 0) & (1 << (page % wordBits))) !== 0;
  }

  add(page: number): void {
    const word = Math.floor(page / wordBits);
    this.#words[word]! |= 1 << (page % wordBits);
    this.#from = Math.min(this.#from, word);
    this.#to = Math.max(this.#to, word + 1);
  }

  delete(page: number): void {
    this.#words[Math.floor(page / wordBits)]! &= ~(1 << (page % wordBits));
  }

  clear(): void {
    this.#words.fill(0, Math.min(this.#from, this.#to), this.#to);
    this.#from = Infinity;
    this.#to = 0;
  }

  /** Ascending. */
  *[Symbol.iterator](): Generator<number> {
    for (let word = this.#from; word < this.#to; word++)
      for (let left = this.#words[word]!; left !== 0; left &= left - 1)
        yield word * wordBits + 31 - Math.clz32(left & -left);
  }

  copy(): PageBits {
    const copy = new PageBits(this.#pageCount);
    copy.set(this);
    return copy;
  }

  /** Becomes the same as another of as many pages. */
  set(other: PageBits): void {
    this.clear();
    if (other.#from >= other.#to) return;
    this.#words.set(other.#words.subarray(other.#from, other.#to), other.#from);
    this.#from = other.#from;
    this.#to = other.#to;
  }
}
