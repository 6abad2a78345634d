/**
 * A client outside that asks a guest with a network card one question after another, over one connection, by the published port of some node.
 * When that breaks it goes on by another node. A connection that broke though its node was well, and though nothing may be taken back, is
 * a fault.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { AnswerChecker } from './answer-checker.ts';

/** Behind a node to which something was done no more answers are waited for. */
const silentMs = 12_000;
const connectMs = 3000;
const againMs = 200;

export interface Door {
  node: string;
  host: string;
  port: number;
}

export interface AskingOptions {
  doors: readonly Door[];
  random: () => number;
  /** Whether nothing was done to a node since then that may end its connections. */
  isWell: (node: string, sinceMs: number) => boolean;
  /** Whether the VM's connections outlive its takeovers. */
  keeps: boolean;
  pauseMs: number;
}

export class AskingClient {
  readonly checker = new AnswerChecker();
  readonly #options: AskingOptions;
  readonly #whenOver: Promise<void>;
  #over = false;
  #socket: Socket | undefined;
  /** Connections that broke: of a node that something was done to, or by a policy that ends them; and since the guest was started anew. */
  broken = 0;
  #excused = false;
  fault: string | undefined;

  constructor(options: AskingOptions) {
    this.#options = options;
    this.#whenOver = this.#run();
  }

  /** Its VM was started again by a person: connections may end. */
  excuse(): void {
    this.#excused = true;
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#socket?.destroy();
    await this.#whenOver;
  }

  async #run(): Promise<void> {
    for (let request = 0; !this.#over;) {
      const door = this.#door();
      const sinceMs = performance.now();
      const socket = await this.#enter(door);
      if (socket === undefined) {
        await sleep(againMs);
        continue;
      }
      const lines = new Lines(socket);
      let [why, answered] = ['', false];
      while (!this.#over && why === '') {
        const asked = `r${++request}`;
        this.checker.asks(asked);
        socket.write(`${asked}\n`);
        const line = await this.#hear(lines, () => !this.#options.isWell(door.node, sinceMs));
        if (line === undefined) why = lines.ended ?? 'given up';
        else this.checker.hear(line);
        answered ||= line !== undefined;
        if (line !== undefined) await sleep(this.#options.pauseMs);
      }
      socket.destroy();
      if (this.#over) return;
      this.checker.broke();
      this.#judge(door, { sinceMs, why, answered });
    }
  }

  #judge(
    { node }: Door,
    { sinceMs, why, answered }: { sinceMs: number; why: string; answered: boolean },
  ): void {
    // Before it had an answer the guest may not have been there yet.
    if (!answered) return;
    this.broken++;
    const isExcused = this.#excused || !this.#options.isWell(node, sinceMs);
    this.#excused = false;
    if (this.#options.keeps && !isExcused)
      this.fault ??= `a connection by ${node}, to which nothing was done, broke: ${why}`;
  }

  #door(): Door {
    const { doors, random } = this.#options;
    return doors[Math.floor(random() * doors.length)]!;
  }

  async #enter({ host, port }: Door): Promise<Socket | undefined> {
    const socket = connect({ host, port, noDelay: true });
    this.#socket = socket;
    socket.on('error', () => undefined);
    const entered = once(socket, 'connect').then(
      () => true,
      () => false,
    );
    const late = sleep(connectMs, false, { ref: false });
    if (await Promise.race([entered, late])) return socket;
    socket.destroy();
    return undefined;
  }

  /** The next line; undefined when there will be none, or none within `silentMs` of a node to which something was done. */
  async #hear(lines: Lines, mayGiveUp: () => boolean): Promise<string | undefined> {
    for (let waitedMs = 0; !this.#over; waitedMs += againMs) {
      const line = await Promise.race([lines.next, sleep(againMs, undefined, { ref: false })]);
      if (line !== undefined) return lines.take();
      if (lines.ended !== undefined) return undefined;
      if (waitedMs > silentMs && mayGiveUp()) return undefined;
    }
    return undefined;
  }
}

/** What comes, line by line. */
class Lines {
  #text = '';
  #waiting = Promise.withResolvers<string>();
  ended: string | undefined;

  constructor(socket: Socket) {
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.#text += text;
      if (this.#text.includes('\n')) this.#waiting.resolve(this.#text);
    });
    let why = 'it was closed';
    socket.on('error', (error) => (why = error.message));
    socket.on('close', () => (this.ended = why));
    socket.on('end', () => (this.ended = why));
  }

  /** Resolves when there is a whole line. */
  get next(): Promise<string> {
    return this.#waiting.promise;
  }

  take(): string {
    const end = this.#text.indexOf('\n');
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    this.#waiting = Promise.withResolvers<string>();
    if (this.#text.includes('\n')) this.#waiting.resolve(this.#text);
    return line;
  }
}
