/** `--display ansi`: the guest's text screen in the person's terminal, and what is typed there as its keyboard. */
import type { Machine, TextScreen } from '@revenant/emulator';
import { CliError, ExitCode } from '../errors.ts';
import { keysTyped } from './ansi-keys.ts';
import { enterScreen, leaveScreen, paintScreen } from './ansi-screen.ts';

/** Between two looks at the display. */
const lookMs = 33;

export class AnsiDisplay {
  readonly #write: (text: string) => void;
  #shown: TextScreen | undefined;
  #graphics: string | undefined;
  #lookedAt = -Infinity;

  /** Throws CliError for a machine without a display. */
  constructor(machine: Machine, write: (text: string) => void) {
    if (machine.display.picture() === undefined)
      throw new CliError(
        ExitCode.usage,
        '--display: the machine has no display',
        'a machine of type pc has one',
      );
    this.#write = write;
    write(enterScreen);
  }

  /** Bytes of the terminal. */
  typed(machine: Machine, bytes: Uint8Array): void {
    for (const chord of keysTyped(bytes)) {
      for (const code of chord) machine.input({ kind: 'key', code, pressed: true });
      for (const code of chord.toReversed()) machine.input({ kind: 'key', code, pressed: false });
    }
  }

  /** Between two slices of the guest. */
  exchange(machine: Machine): void {
    if (performance.now() - this.#lookedAt < lookMs) return;
    this.#lookedAt = performance.now();
    this.show(machine);
  }

  show(machine: Machine): void {
    const screen = machine.display.text();
    if (screen === undefined) {
      this.#tellGraphics(machine);
      return;
    }
    this.#graphics = undefined;
    const text = paintScreen(screen, this.#shown);
    this.#shown = screen;
    if (text !== '') this.#write(text);
  }

  #tellGraphics(machine: Machine): void {
    const { width = 0, height = 0 } = machine.display.picture() ?? {};
    const size = `${String(width)} x ${String(height)}`;
    if (size === this.#graphics) return;
    this.#graphics = size;
    this.#shown = undefined;
    this.#write(
      `\x1b[0m\x1b[2J\x1b[HThe guest shows graphics of ${size} pixels, which a terminal can't: --vnc shows them.\r\n`,
    );
  }

  close(): void {
    this.#write(leaveScreen);
  }
}
