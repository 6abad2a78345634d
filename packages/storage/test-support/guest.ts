/** A pretend guest for tests: spaces whose pages change at random (seeded), snapshots of them, and the truth to compare with. */
import type { MachineSnapshot, SpaceSnapshot } from '../src/snapshot.ts';

/** A small, fast, seeded generator (mulberry32): numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface GuestSpace {
  name: string;
  pageSize: number;
  pageCount: number;
  bytes: Uint8Array;
  dirty: Set<number>;
}

export interface GuestOptions {
  seed?: number;
  ramPages?: number;
  diskPages?: number;
}

export class Guest {
  readonly random: () => number;
  readonly spaces: GuestSpace[];
  instructions = 0n;
  #fresh = true;

  constructor({ seed = 1, ramPages = 64, diskPages = 32 }: GuestOptions = {}) {
    this.random = seededRandom(seed);
    this.spaces = [space('ram', 4096, ramPages), ...(diskPages > 0 ? [space('disk0', 512, diskPages)] : [])];
  }

  /** Changes about `count` pages: some to fresh contents, some to contents seen elsewhere, some to zero. */
  run(count: number): this {
    this.instructions += BigInt(count) * 1000n + 1n;
    for (let i = 0; i < count; i++) {
      const target = this.spaces[Math.floor(this.random() * this.spaces.length)]!;
      this.touch(target, Math.floor(this.random() * target.pageCount));
    }
    return this;
  }

  touch(target: GuestSpace, page: number): void {
    const { pageSize, bytes } = target;
    const at = page * pageSize;
    target.dirty.add(page);
    const kind = this.random();
    if (kind < 0.15) bytes.fill(0, at, at + pageSize);
    else if (kind < 0.35) {
      const from = Math.floor(this.random() * target.pageCount) * pageSize;
      bytes.copyWithin(at, from, from + pageSize);
    } else {
      const fill = kind < 0.8 ? pageSize >> 4 : pageSize;
      for (let i = 0; i < fill; i++) bytes[at + i] = this.random() * 256;
    }
  }

  /** A snapshot: the dirty pages, or (the first time, or when asked) every page that is not zero. */
  snapshot(options: { full?: boolean } = {}): MachineSnapshot {
    const full = options.full ?? this.#fresh;
    this.#fresh = false;
    return { ...this.#state(), spaces: this.spaces.map((each) => take(each, full)) };
  }

  /** Becomes what a full snapshot says. */
  load(snapshot: MachineSnapshot): this {
    for (const each of snapshot.spaces) {
      const own = this.spaces.find(({ name }) => name === each.name)!;
      own.bytes.fill(0);
      own.dirty.clear();
      for (const [i, index] of each.indexes.entries())
        own.bytes.set(each.bytes.subarray(i * each.pageSize, (i + 1) * each.pageSize), index * each.pageSize);
    }
    this.instructions = snapshot.instructions;
    this.#fresh = false;
    return this;
  }

  /** The whole truth, without touching the dirty marks. */
  truth(): MachineSnapshot {
    const spaces = this.spaces.map((each) => take({ ...each, dirty: new Set() }, true));
    return { ...this.#state(), spaces };
  }

  #state(): Omit<MachineSnapshot, 'spaces'> {
    return {
      description: { machine: 'pc', cpu: { model: 'test' }, memoryBytes: this.spaces[0]!.bytes.length },
      cpus: [{ rip: this.instructions, halted: false, xmm: new Uint8Array([1, 2, 3]) }],
      devices: { 'pic-8259a': { version: 1, state: { irr: Number(this.instructions % 256n) } } },
      instructions: this.instructions,
      virtualTimeNs: this.instructions * 3n,
    };
  }
}

function space(name: string, pageSize: number, pageCount: number): GuestSpace {
  return { name, pageSize, pageCount, bytes: new Uint8Array(pageSize * pageCount), dirty: new Set() };
}

function take(from: GuestSpace, full: boolean): SpaceSnapshot {
  const { name, pageSize, pageCount } = from;
  const page = (index: number): Uint8Array => from.bytes.subarray(index * pageSize, (index + 1) * pageSize);
  const all = Array.from({ length: pageCount }, (_, index) => index);
  const chosen = full
    ? all.filter((index) => page(index).some((byte) => byte !== 0))
    : [...from.dirty].sort((a, b) => a - b);
  from.dirty.clear();
  const bytes = new Uint8Array(chosen.length * pageSize);
  for (const [i, index] of chosen.entries()) bytes.set(page(index), i * pageSize);
  return { name, pageSize, pageCount, full, indexes: Uint32Array.from(chosen), bytes };
}
