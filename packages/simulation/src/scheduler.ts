/** Simulated real time in milliseconds, and what is to happen when: a binary heap, ties in order of scheduling. */
interface Item {
  at: number;
  order: number;
  run: () => void;
}

export class Scheduler {
  now = 0;
  #heap: Item[] = [];
  #order = 0;

  after(delayMs: number, run: () => void): void {
    const item = { at: this.now + Math.max(0, delayMs), order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!earlier(item, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = item;
  }

  /** Runs the next item; false when there is none. */
  step(): boolean {
    const first = this.#heap[0];
    if (first === undefined) return false;
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) this.#sink(last);
    this.now = first.at;
    first.run();
    return true;
  }

  #sink(item: Item): void {
    const heap = this.#heap;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && earlier(heap[child + 1]!, heap[child]!)) child++;
      if (!earlier(heap[child]!, item)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = item;
  }
}

const earlier = (a: Item, b: Item): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
