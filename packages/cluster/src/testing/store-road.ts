/** A `file:` store as one node reaches it, for tests: by a link of its own, which can be taken away. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';

export class StoreRoad {
  readonly #folder: string;
  readonly #link: string;

  constructor(folder: string, link: string) {
    this.#folder = folder;
    this.#link = link;
  }

  get url(): string {
    return `file:${this.#link}`;
  }

  open(): void {
    mkdirSync(this.#folder, { recursive: true });
    rmSync(this.#link, { force: true });
    symlinkSync(this.#folder, this.#link);
  }

  /** Everything below fails at once. */
  close(): void {
    rmSync(this.#link, { force: true });
    writeFileSync(this.#link, '');
  }
}
