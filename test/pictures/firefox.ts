/** Debian's Firefox, driven by its own protocol (Marionette): playwright-core knows only a Firefox that was changed for it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const program = 'firefox-esr';
const patienceMs = 180_000;
const preferences = {
  'marionette.port': 0,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
};

type Answer = [1, number, { message: string } | null, unknown];

export class Firefox {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #heard = Buffer.alloc(0);
  #count = 0;

  private constructor(parts: { process: ChildProcess; profile: string; socket: Socket }) {
    this.#process = parts.process;
    this.#profile = parts.profile;
    this.#socket = parts.socket;
    parts.socket.on('data', (piece) => this.#hear(piece));
  }

  /** Throws Error when there is none. */
  static async open(width: number, height: number): Promise<Firefox> {
    const profile = await mkdtemp(join(tmpdir(), 'revenant-firefox-'));
    const lines = Object.entries(preferences).map(
      ([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`,
    );
    await writeFile(join(profile, 'user.js'), lines.join('\n'));
    const words = ['--headless', '--marionette', '--no-remote', '--profile', profile];
    const process = spawn(program, [...words, `--width=${String(width)}`, `--height=${String(height)}`], {
      stdio: 'ignore',
    });
    const failed = new Promise<never>((_resolve, reject) => process.on('error', reject));
    const port = await Promise.race([portOf(profile), failed]);
    const firefox = new Firefox({ process, profile, socket: connect(port, '127.0.0.1') });
    await firefox.#ask('WebDriver:NewSession', {});
    return firefox;
  }

  async goTo(url: string): Promise<void> {
    await this.#ask('WebDriver:Navigate', { url });
  }

  /** The value of an expression in the page. */
  async value(expression: string): Promise<unknown> {
    const script = `return ${expression}`;
    const answer = (await this.#ask('WebDriver:ExecuteScript', { script, args: [] })) as { value: unknown };
    return answer.value;
  }

  /** Until an expression in the page is true. Throws Error when it does not become so. */
  async until(expression: string): Promise<void> {
    const end = performance.now() + patienceMs;
    while ((await this.value(expression)) !== true) {
      if (performance.now() > end) throw new Error(`in Firefox it is never so: ${expression}`);
      await sleep(200);
    }
  }

  async picture(path: string): Promise<void> {
    const { value } = (await this.#ask('WebDriver:TakeScreenshot', { full: false })) as { value: string };
    await writeFile(path, Buffer.from(value, 'base64'));
  }

  async close(): Promise<void> {
    this.#socket.destroy();
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill();
    await ended;
    await rm(this.#profile, { recursive: true, force: true });
  }

  #ask(name: string, parameters: object): Promise<unknown> {
    const id = ++this.#count;
    const text = JSON.stringify([0, id, name, parameters]);
    this.#socket.write(`${String(Buffer.byteLength(text))}:${text}`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** Each message is its length in decimal, a colon, and so many bytes of JSON. */
  #hear(piece: Buffer): void {
    this.#heard = Buffer.concat([this.#heard, piece]);
    for (;;) {
      const colon = this.#heard.indexOf(':');
      const end = colon + 1 + Number(this.#heard.toString('latin1', 0, Math.max(0, colon)));
      if (colon < 0 || this.#heard.length < end) return;
      const message = JSON.parse(this.#heard.toString('utf8', colon + 1, end)) as Answer | object;
      this.#heard = this.#heard.subarray(end);
      if (!Array.isArray(message)) continue;
      const [, id, error, result] = message as Answer;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === null) waiting?.resolve(result);
      else waiting?.reject(new Error(error.message));
    }
  }
}

/** Firefox writes it into its profile once it listens. */
async function portOf(profile: string): Promise<number> {
  for (;;) {
    const text = await readFile(join(profile, 'MarionetteActivePort'), 'utf8').catch(() => '');
    if (text !== '') return Number(text);
    await sleep(100);
  }
}
