/**
 * A client as a browser is one: loads a page of the guest again and again, by whichever node lets it in, and counts what a person would see.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Between two pages, and before a page that broke off is asked for again. */
const pauseMs = 100;
/** Of one page, with all tries: longer, and a person has gone away. */
const patienceMs = 20_000;
/** Of one try by one node. */
const tryMs = 10_000;

export interface PageCounts {
  loaded: number;
  /** Pages that did not come at all. */
  failed: number;
  /** Connections that broke off, or were refused: the page was asked for again. */
  retried: number;
  longestMs: number;
}

export class PageLoader {
  readonly counts: PageCounts = { loaded: 0, failed: 0, retried: 0, longestMs: 0 };
  readonly #urls: readonly string[];
  readonly #isPage: (text: string) => boolean;
  #next = 0;
  #over = false;
  #running: Promise<void> | undefined;

  /** `urls`: the same page by each node. */
  constructor(urls: readonly string[], isPage: (text: string) => boolean) {
    this.#urls = urls;
    this.#isPage = isPage;
  }

  /** Resolves once a first page has come; false when none does within that time. From then on pages are counted. */
  async start(timeoutMs: number): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    while (!(await this.#load(1000))) {
      if (performance.now() > until) return false;
      await sleep(pauseMs);
    }
    this.#running = this.#run();
    return true;
  }

  async stop(): Promise<PageCounts> {
    this.#over = true;
    await this.#running;
    return this.counts;
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      const began = performance.now();
      await this.#page(began + patienceMs);
      this.counts.longestMs = Math.max(this.counts.longestMs, performance.now() - began);
      await sleep(pauseMs);
    }
  }

  async #page(untilMs: number): Promise<void> {
    while (performance.now() < untilMs) {
      if (await this.#load(tryMs)) {
        this.counts.loaded++;
        return;
      }
      this.counts.retried++;
      await sleep(pauseMs);
    }
    this.counts.failed++;
  }

  /** By the node whose turn it is; the next one when it does not come. */
  async #load(timeoutMs: number): Promise<boolean> {
    const url = this.#urls[this.#next % this.#urls.length]!;
    try {
      const init = { headers: { connection: 'close' }, signal: AbortSignal.timeout(timeoutMs) };
      const response = await fetch(url, init);
      if (response.ok && this.#isPage(await response.text())) return true;
    } catch {
      // Refused, reset, or too slow: all the same to who waits for a page.
    }
    this.#next++;
    return false;
  }
}
