/**
 * What pages held at several moments of a run that can be repeated. Each page has the versions that differ, by moment; a version holds until the
 * next one. Moments may be added in any order, and dropped.
 */
interface Version {
  moment: number;
  bytes: Uint8Array;
}

/** Of a page before any version: what it held when the watch began. */
export type BaseOf = (page: number) => Uint8Array;

export class PageVersions {
  readonly #versions = new Map<number, Version[]>();
  readonly #base: BaseOf;
  /** Ascending. */
  readonly #moments: number[] = [];
  /** Pages that have a version of a moment. */
  readonly #pagesAt = new Map<number, Set<number>>();
  /** Bytes of all versions. */
  bytes = 0;

  constructor(base: BaseOf) {
    this.#base = base;
  }

  /** Index of the first version behind a moment. */
  #behind(versions: readonly Version[], moment: number): number {
    let [low, high] = [0, versions.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((versions[middle]?.moment ?? 0) <= moment) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** What a page held at a moment that was added. Not to be changed. */
  at(page: number, moment: number): Uint8Array {
    const versions = this.#versions.get(page);
    if (versions === undefined) return this.#base(page);
    return versions[this.#behind(versions, moment) - 1]?.bytes ?? this.#base(page);
  }

  #put(page: number, index: number, version: Version): void {
    let versions = this.#versions.get(page);
    if (versions === undefined) this.#versions.set(page, (versions = []));
    versions.splice(index, 0, version);
    this.#note(page, version.moment);
    this.bytes += version.bytes.length;
  }

  #note(page: number, moment: number): void {
    const pages = this.#pagesAt.get(moment);
    if (pages === undefined) this.#pagesAt.set(moment, new Set([page]));
    else pages.add(page);
  }

  /** Pages that may hold one thing at a moment and another at the other. */
  between(some: number, other: number): Set<number> {
    const [from, to] = [Math.min(some, other), Math.max(some, other)];
    const pages = new Set<number>();
    for (const moment of this.#moments)
      if (moment > from && moment <= to) for (const page of this.#pagesAt.get(moment) ?? []) pages.add(page);
    return pages;
  }

  /** Adds a moment. `pages`: those that may differ from what they held at the moment before, with what they hold now. */
  add(moment: number, pages: Iterable<number>, now: (page: number) => Uint8Array): void {
    const next = this.#moments.find((other) => other > moment);
    this.#moments.push(moment);
    this.#moments.sort((a, b) => a - b);
    for (const page of pages) {
      const bytes = now(page);
      const before = this.at(page, moment);
      if (samePage(bytes, before)) continue;
      const versions = this.#versions.get(page) ?? [];
      const index = this.#behind(versions, moment);
      // The later moment saw what had been before: it keeps that.
      if (next !== undefined && versions[index]?.moment !== next)
        this.#put(page, index, { moment: next, bytes: before });
      this.#put(page, index, { moment, bytes: bytes.slice() });
    }
  }

  /** Forgets a moment; the others stay as they are. Answers which pages had a version of it. */
  drop(moment: number): Set<number> {
    const pages = this.#pagesAt.get(moment) ?? new Set<number>();
    const index = this.#moments.indexOf(moment);
    if (index < 0) return pages;
    this.#moments.splice(index, 1);
    const next = this.#moments[index];
    for (const page of pages) {
      const versions = this.#versions.get(page) ?? [];
      const at = this.#behind(versions, moment) - 1;
      const version = versions[at];
      if (version?.moment !== moment) continue;
      if (next === undefined || versions[at + 1]?.moment === next) {
        versions.splice(at, 1);
        this.bytes -= version.bytes.length;
      } else {
        version.moment = next;
        this.#note(page, next);
      }
    }
    this.#pagesAt.delete(moment);
    return pages;
  }
}

/** Whether two pages hold the same. */
export function samePage(a: Uint8Array, b: Uint8Array): boolean {
  const words = new Int32Array(a.buffer, a.byteOffset, a.length >> 2);
  const others = new Int32Array(b.buffer, b.byteOffset, b.length >> 2);
  for (let n = 0; n < words.length; n++) if (words[n] !== others[n]) return false;
  return true;
}
