/** The person's terminal as the guest's serial console. Ctrl-] leaves; the terminal is restored however the program ends. */
import type { ReadStream } from 'node:tty';

const escapeByte = 0x1d; // Ctrl-]

export interface TerminalEvents {
  input(bytes: Uint8Array): void;
  escape(): void;
  /** The input has come to its end. */
  end?(): void;
}

export class Terminal {
  readonly #stdin: ReadStream;
  readonly #restore = (): void => {
    if (this.#stdin.isTTY) this.#stdin.setRawMode(false);
  };

  constructor(stdin: ReadStream, events: TerminalEvents) {
    this.#stdin = stdin;
    if (stdin.isTTY) {
      stdin.setRawMode(true);
      process.on('exit', this.#restore);
      for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const)
        process.on(signal, () => process.exit(128));
    }
    stdin.on('data', (data: Buffer) => {
      const at = stdin.isTTY ? data.indexOf(escapeByte) : -1;
      if (at !== 0) events.input(at < 0 ? data : data.subarray(0, at));
      if (at >= 0) events.escape();
    });
    stdin.on('end', () => events.end?.());
  }

  close(): void {
    this.#restore();
    this.#stdin.pause();
    this.#stdin.removeAllListeners('data').removeAllListeners('end');
  }
}
