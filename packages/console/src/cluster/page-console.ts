/**
 * One VM's serial console at the page's end: what was heard, for terminals that open later, and what was typed, which is kept until a
 * durable checkpoint holds it, so that nothing typed is lost or doubled through a failover, nor when the page goes on with another node.
 */
import {
  HeardOutput,
  TerminalQuestions,
  TypedInput,
  type ConsoleReply,
  type ConsoleRequest,
} from '@revenant/cluster/protocol';
import type { SerialLine } from '../shared/terminal.tsx';

const maxKeptBytes = 1 << 20;
/** What is pasted waits here until there is room at the guest. */
const maxQueuedBytes = 8 << 20;
const encoder = new TextEncoder();

export interface PageConsoleParts {
  post: (request: ConsoleRequest) => void;
  /** Whether this session may type at all. */
  mayType: () => boolean;
}

export class PageConsole implements SerialLine {
  readonly #parts: PageConsoleParts;
  readonly #output = new HeardOutput((line) => this.#note(line));
  readonly #input: TypedInput;
  readonly #questions = new TerminalQuestions(() => performance.now());
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;

  constructor(parts: PageConsoleParts) {
    this.#parts = parts;
    this.#input = new TypedInput({
      session: crypto.randomUUID(),
      post: parts.post,
      said: (line) => this.#note(line),
    });
  }

  listen(write: (bytes: Uint8Array) => void): () => void {
    for (const bytes of this.#kept) write(bytes);
    this.#listeners.add(write);
    return () => this.#listeners.delete(write);
  }

  send(bytes: Uint8Array): void {
    if (!this.#parts.mayType()) return this.#note('this session may only view');
    if (this.#queuedBytes + bytes.length > maxQueuedBytes)
      return this.#note(`${String(bytes.length)} bytes were not typed: too much waits for the guest`);
    this.#questions.typed(bytes);
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#drain();
  }

  /** Nobody looks, and nothing typed waits. */
  get isIdle(): boolean {
    return this.#listeners.size === 0 && this.#queuedBytes + this.#input.unacknowledged === 0;
  }

  attached(): void {
    if (this.#parts.mayType()) this.#input.attached();
  }

  detached(): void {
    this.#input.detached();
  }

  heard(reply: ConsoleReply): void {
    if (reply.type !== 'output') {
      this.#input.heard(reply);
      this.#drain();
      return;
    }
    const before = this.#output.epoch;
    const fresh = this.#output.fresh(reply);
    if (fresh === undefined) return;
    if (before !== 0 && fresh.epoch > before) this.#note(`it goes on under epoch ${String(fresh.epoch)}`);
    this.#show(this.#questions.pass(fresh.bytes));
  }

  #drain(): void {
    for (;;) {
      const [first] = this.#queue;
      const { room } = this.#input;
      if (first === undefined || room <= 0) return;
      const now = first.subarray(0, room);
      if (now.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(room);
      this.#queuedBytes -= now.length;
      this.#input.write(now);
    }
  }

  /** A line of ours between the guest's. */
  #note(text: string): void {
    this.#show(encoder.encode(`\r\n\x1b[2m[${text}]\x1b[22m\r\n`));
  }

  #show(bytes: Uint8Array): void {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    while (this.#keptBytes > maxKeptBytes && this.#kept.length > 1)
      this.#keptBytes -= this.#kept.shift()!.length;
    for (const listener of this.#listeners) listener(bytes);
  }
}
