/** The display of a guest that runs in this process, for who watches it by VNC. */
import { DisplayWatcher, type Machine } from '@revenant/emulator';
import { CliError, ExitCode } from '../errors.ts';
import type { VncServer } from '../vnc/server.ts';
import type { RunOptions } from './options.ts';
import { listenForViewers } from './vnc-options.ts';

/** Between two looks at the display: 30 pictures a second. */
const lookMs = 33;

export class GuestScreens {
  readonly #vnc: VncServer;
  readonly #watcher: DisplayWatcher;
  #lookedAt = -Infinity;

  private constructor(vnc: VncServer, watcher: DisplayWatcher) {
    this.#vnc = vnc;
    this.#watcher = watcher;
  }

  /** Undefined when nobody asked for one. Throws CliError. */
  static async open(
    { vnc: asked }: RunOptions,
    machine: Machine,
    wake: () => void,
  ): Promise<GuestScreens | undefined> {
    if (asked === undefined) return undefined;
    const watcher = new DisplayWatcher();
    if (machine.display.watch(watcher) === undefined)
      throw new CliError(
        ExitCode.usage,
        '--vnc: the machine has no display',
        'start it from a disk, or with a machine of type pc',
      );
    const vnc = await listenForViewers(asked, {
      name: 'Revenant',
      wake,
      takesTablet: () => machine.takesTablet,
      look: () => machine.display.watch(watcher),
      say: (line) => process.stderr.write(`revenant: ${line}\r\n`),
    });
    return new GuestScreens(vnc, watcher);
  }

  /** Between two slices of the guest: what people did goes in, what it shows goes out. */
  exchange(machine: Machine): void {
    for (const input of this.#vnc.takeInputs()) machine.input(input);
    if (!this.#vnc.isWatched || performance.now() - this.#lookedAt < lookMs) return;
    this.#lookedAt = performance.now();
    const now = machine.display.watch(this.#watcher);
    if (now !== undefined) this.#vnc.show(now);
  }

  close(): Promise<void> {
    return this.#vnc.close();
  }
}
