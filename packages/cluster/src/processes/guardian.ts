/**
 * Whoever starts processes ends them, on every way out, also when it is killed itself, and also when they are frozen (SIGSTOP) and could
 * watch nobody. So a guardian stands beside: a small process of its own that is told which processes and temporary folders are ours. It
 * hears that we are gone by the end of the pipe between us, which the kernel closes however we end; then it kills and removes them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./guardian-process.ts', import.meta.url));

/** One line of the pipe, as JSON. */
export type GuardianWord =
  | { kill: number }
  /** The process has ended: its number may soon be another's. */
  | { forget: number }
  /** A program with its words, when the processes are gone; before folders are removed. */
  | { run: readonly string[] }
  | { remove: string }
  /** Nothing of it is to be touched any more. */
  | { release: true };

export class Guardian {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static #ofProcess: Promise<Guardian> | undefined;

  /** The one for whatever this process starts; it stays until we end. */
  static ofProcess(): Promise<Guardian> {
    return (Guardian.#ofProcess ??= Guardian.start());
  }

  /** Resolves when it watches. */
  static async start(): Promise<Guardian> {
    // In a session of its own: the Ctrl-C that ends us must not end it too.
    const child = spawn(process.execPath, [script], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', reject);
      child.stdout?.once('data', resolve);
    });
    // A guardian that somebody killed is no reason to end: what it would do, we do ourselves in an orderly end.
    child.stdin?.on('error', () => undefined);
    child.stdout?.destroy();
    child.unref();
    // Nor is the pipe a reason for us to go on.
    (child.stdin as Socket | null)?.unref();
    return new Guardian(child);
  }

  /** Should we end without a word, this process is killed. */
  watch(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#say({ kill: pid });
    child.once('exit', () => {
      this.#say({ forget: pid });
    });
  }

  /** The process may outlive us. */
  forget({ pid }: ChildProcess): void {
    if (pid !== undefined) this.#say({ forget: pid });
  }

  /** Should we end without a word, this program runs, when the processes are gone: what it unmounts or deletes may be in use until then. */
  run(words: readonly string[]): void {
    this.#say({ run: words });
  }

  /** Should we end without a word, this folder is removed, when the processes are gone. */
  remove(folder: string): void {
    this.#say({ remove: folder });
  }

  /** The processes may outlive us, and the folders stay. */
  release(): void {
    this.#say({ release: true });
    this.#child.stdin?.end();
  }

  #say(word: GuardianWord): void {
    const { stdin } = this.#child;
    if (stdin?.writableEnded === false) stdin.write(`${JSON.stringify(word)}\n`);
  }
}
