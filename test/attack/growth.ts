/** How much more memory this process holds than as it was made, at the most of all looks. */
export class Growth {
  readonly #before = process.memoryUsage.rss();
  #most = 0;

  /** To be called for each case: looks at some of them. */
  look(n: number): void {
    if (n % 1024 === 0) this.#most = Math.max(this.#most, process.memoryUsage.rss() - this.#before);
  }

  get mostMiB(): number {
    this.look(0);
    return this.#most / 2 ** 20;
  }
}
