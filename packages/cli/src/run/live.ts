/** Runs a ready guest until it ends: console, files, pace, resets. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LivePace, type BootPlan, type RunResult } from '@revenant/emulator';
import { nodeClock } from '@revenant/emulator/host-node';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { writeOutput } from '../output/file.ts';
import { encodeRgbPng } from '../output/png.ts';
import { screenPng } from '../output/screen-picture.ts';
import { waitingUntil } from '../output/waiting.ts';
import { planOf, readyGuest, release, type GuestBackends, type ReadyGuest } from './guest.ts';
import type { GuestNetwork } from './network.ts';
import type { RunOptions } from './options.ts';
import { PipedInput } from './piped-input.ts';
import { Terminal } from './terminal.ts';
import { collectGarbage } from './tidy.ts';
import { AnsiDisplay } from './ansi-display.ts';
import { WarmStart } from './warm.ts';
import { GuestScreens } from './screens.ts';

/** Short enough for a quick answer to a key. */
const sliceInstructions = 3_000_000;
/** A boot that prints nothing for so long gets a line of progress on stderr. */
const silenceMs = 5000;
/** After the end of piped input, a guest that waits and says nothing for so long waits for input that can't come. */
const quietMs = 5000;
/** In a halt, the longest sleep before input is looked at again. */
const maxSleepMs = 200;
/** The same while pages of memory are still to come: some do in each turn. */
const deliverySleepMs = 20;
/** A guest that waits and is silent for so long has started: what its start left behind is given back then, once. */
const startedMs = 1000;
/** Nobody sleeps for less. */
const leastSleepMs = 0.5;
/** Between two slices, so much time goes into pages of memory that nobody asked for yet. */
const deliverMs = 5;

/** A file opened before the guest runs, so that a bad path is known then. */
class OutputFile {
  readonly #fd: number;
  constructor(option: string, path: string, flags: 'w' | 'wx' = 'w') {
    try {
      this.#fd = openSync(path, flags);
    } catch (error) {
      throw new CliError(
        ExitCode.cannotWrite,
        `--${option}: can't write '${path}': ${messageOf(error)}`,
        'choose a path that can be written',
        error,
      );
    }
  }

  write(byte: number): void {
    writeSync(this.#fd, Uint8Array.of(byte));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The guest gets random numbers of its own, and when it was restored learns that this is another life. */
function tellLife({ machine, restoring }: ReadyGuest): void {
  machine.input({ kind: 'entropy', bytes: randomBytes(32) });
  if (restoring !== undefined)
    machine.input({ kind: 'generation', generation: randomBytes(8).readBigUInt64LE() });
}

function say(line: string): void {
  process.stderr.write(`revenant: ${line}\n`);
}

export class LiveRun {
  readonly #options: RunOptions;
  #output: number[] = [];
  #lastEventMs = performance.now();
  #printed = false;
  #tidied = false;
  #left = false;
  #typed: Uint8Array[] = [];
  /** Undefined with a terminal: what is typed goes to the guest at once. */
  #piped: PipedInput | undefined;
  #wake: () => void = () => undefined;
  #network: GuestNetwork | undefined;
  #screens: GuestScreens | undefined;
  #display: AnsiDisplay | undefined;
  /** Undefined when the run neither begins warm nor leaves a warm image. */
  #warm: WarmStart | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  /** Runs to the end; returns the exit code. */
  async run(): Promise<number> {
    const { serial, debugConsole, save } = this.#options;
    let serialFile: OutputFile | undefined;
    let debugFile: OutputFile | undefined;
    if (save !== undefined) checkWritable(save);
    const print = (byte: number): void => {
      if (serial.kind === 'file') serialFile?.write(byte);
      else if (serial.kind === 'stdio') this.#output.push(byte);
    };
    this.#warm = await WarmStart.of(this.#options);
    const { guest, printed } = await this.#begin({
      serial: (port, byte) => {
        if (port !== 0) return;
        this.#warm?.printed(byte);
        print(byte);
      },
      debugConsole: (_port, byte) => debugFile?.write(byte),
      output: ({ output }) => {
        this.#network?.output(output);
        if (output.kind === 'panic') process.stderr.write("revenant: the guest's kernel panicked\n");
        return undefined;
      },
    });
    if (guest.plan !== undefined) release(guest.plan);
    if (this.#clock === 'wall') tellLife(guest);
    await this.#openNetwork(guest);
    this.#screens = await GuestScreens.open(this.#options, guest.machine, () => {
      this.#wake();
    });
    // Opening these files empties them, so they wait until the guest is sure to start.
    if (serial.kind === 'file') serialFile = this.#openOutput('serial', serial.path);
    if (debugConsole !== undefined) debugFile = this.#openOutput('debug-console', debugConsole.path);
    if (this.#options.display === 'ansi')
      this.#display = new AnsiDisplay(guest.machine, (text) => process.stdout.write(text));
    const usesTerminal = serial.kind === 'stdio' || this.#display !== undefined;
    const terminal = usesTerminal ? this.#openTerminal() : undefined;
    printed.forEach(print);
    // When nobody reads the console any more the guest is left, and saved, rather than lost with this process.
    process.stdout.removeAllListeners('error').on('error', () => {
      this.#left = true;
      this.#wake();
    });
    try {
      const code = await this.#loop(guest);
      if (save !== undefined) await this.#save(guest, save);
      const { screenshot } = this.#options;
      if (screenshot !== undefined) saveScreenshot(guest.machine, screenshot);
      return code;
    } catch (error) {
      // A page that the guest needs can't be had any more.
      if (this.#warm?.found === true) this.#warm.reject();
      throw error;
    } finally {
      this.#display?.close();
      await this.#warm?.settled();
      terminal?.close();
      await this.#network?.close();
      await this.#screens?.close();
      await guest.restoring?.close();
      serialFile?.close();
      debugFile?.close();
    }
  }

  /** The guest, booted or as it had booted before; and what it had printed then. */
  async #begin(backends: GuestBackends): Promise<{ guest: ReadyGuest; printed: Uint8Array }> {
    const warm = this.#warm;
    if (warm?.found === true) {
      try {
        const printed = await warm.console();
        const { serial, engine, image = '' } = this.#options;
        const guest = await readyGuest({ serial, engine, restore: warm.checkpoint }, backends, say);
        guest.machine.input({ kind: 'wallClock', epochNs: BigInt(Date.now()) * 1_000_000n });
        say(`${image} goes on where it had booted (--cold boots it)`);
        const planAgain = async (): Promise<BootPlan> => planOf(this.#options, guest.machine, say);
        return { guest: { ...guest, planAgain }, printed };
      } catch {
        warm.reject();
      }
    }
    return { guest: await readyGuest(this.#options, backends, say), printed: new Uint8Array(0) };
  }

  /** Runs by virtual time, and runs with a limit, are the same each time. */
  get #clock(): 'wall' | 'virtual' {
    const { clock, maxInstructions } = this.#options;
    return clock ?? (maxInstructions === undefined ? 'wall' : 'virtual');
  }

  #openOutput(option: string, path: string): OutputFile {
    const { kernel, initrd, bootSector, rom, restore, disks = [] } = this.#options;
    const inputs = [
      kernel,
      initrd,
      bootSector,
      rom,
      restore,
      ...disks.map((disk) => ('path' in disk ? disk.path : undefined)),
    ];
    if (inputs.some((input) => input !== undefined && isSameFile(input, path)))
      throw new CliError(
        ExitCode.usage,
        `--${option}: '${path}' is read from as well, and would be lost`,
        'choose another file for the output',
      );
    return new OutputFile(option, path);
  }

  async #openNetwork({ machine }: ReadyGuest): Promise<void> {
    const { network } = this.#options;
    if (network === undefined) return;
    if (machine.description.networkCards.length === 0)
      throw new CliError(
        ExitCode.usage,
        '--net: the guest of this checkpoint has no network card',
        'leave --net out, or start the guest with one',
      );
    const { GuestNetwork } = await import('./network.ts');
    this.#network = await GuestNetwork.open(network, {
      // When all that came at this moment has been read.
      arrived: () => {
        setImmediate(this.#wake);
      },
      say,
    });
  }

  #openTerminal(): Terminal {
    const { stdin } = process;
    if (stdin.isTTY) process.stderr.write('revenant: Ctrl-] leaves the guest\r\n');
    else if (this.#display === undefined) this.#piped = new PipedInput(stdin);
    return new Terminal(stdin, {
      input: (bytes) => {
        if (this.#piped === undefined) this.#typed.push(bytes);
        else this.#piped.push(bytes);
        this.#wake();
      },
      escape: () => {
        this.#left = true;
        this.#wake();
      },
      end: () => {
        this.#piped?.end();
        this.#wake();
      },
    });
  }

  async #save({ machine }: ReadyGuest, path: string): Promise<void> {
    const { writeCheckpointFile } = await import('@revenant/storage');
    try {
      await waitingUntil(`the guest is in ${path}`, () =>
        writeCheckpointFile(path, machine.snapshot({ full: true })),
      );
    } catch (error) {
      throw new CliError(
        ExitCode.cannotWrite,
        `--save: can't write '${path}': ${messageOf(error)}`,
        'choose a path that can be written',
        error,
      );
    }
  }

  #flush(): void {
    if (this.#output.length === 0) {
      this.#tellSilence();
      return;
    }
    process.stdout.write(Uint8Array.from(this.#output));
    this.#output = [];
    this.#printed = true;
    this.#lastEventMs = performance.now();
  }

  #tellSilence(): void {
    if (
      this.#printed ||
      this.#options.serial.kind !== 'stdio' ||
      performance.now() - this.#lastEventMs < silenceMs
    )
      return;
    process.stderr.write('revenant: the guest runs and has printed nothing yet\n');
    this.#printed = true;
  }

  #deliver({ machine, restoring }: ReadyGuest): void {
    if (restoring === undefined || machine.absentPages === 0) return;
    const began = performance.now();
    while (performance.now() - began < deliverMs) {
      const pages = restoring.next();
      if (pages === undefined) return;
      machine.deliver(pages.indexes, pages.bytes);
    }
  }

  async #loop(guest: ReadyGuest): Promise<number> {
    const { machine } = guest;
    const { maxInstructions } = this.#options;
    const limit = maxInstructions === undefined ? undefined : machine.instructions + maxInstructions;
    const pace = this.#clock === 'wall' ? new LivePace(machine, nodeClock) : undefined;
    // A run with a limit does not wait for the clock on the wall.
    const idle = limit === undefined ? 'wait' : 'skip';
    while (!this.#left) {
      this.#deliver(guest);
      this.#give(machine);
      this.#network?.exchange(machine);
      const budget =
        limit === undefined
          ? BigInt(sliceInstructions)
          : minimum(BigInt(sliceInstructions), limit - machine.instructions);
      const result = pace?.turn(Number(budget)) ?? machine.run({ instructions: budget, idle });
      const answered = this.#network?.exchange(machine) === true;
      this.#screens?.exchange(machine);
      this.#display?.exchange(machine);
      this.#flush();
      const code = await this.#ended(result, guest);
      if (code !== undefined) return code;
      if (limit !== undefined && machine.instructions >= limit) return ExitCode.instructionLimit;
      // A guest that waited has something to do again when its network answered at once.
      if (result.reason !== 'idle' || answered) await nextTurn();
      else if (this.#isOver(machine)) return ExitCode.ok;
      else await this.#wait(machine, result, pace);
    }
    return ExitCode.ok;
  }

  /** What was typed or piped goes to the guest. */
  #give(machine: ReadyGuest['machine']): void {
    if (this.#typed.length > 0) this.#warm?.given();
    for (const bytes of this.#typed.splice(0))
      if (this.#display === undefined) machine.input({ kind: 'serial', port: 0, bytes });
      else this.#display.typed(machine, bytes);
    const port = machine.serialPort(0);
    if (this.#piped === undefined || port === undefined) return;
    if (port.listening && this.#warm?.holdsInput(performance.now()) === true) return;
    const bytes = this.#piped.next(port);
    if (bytes === undefined) return;
    this.#warm?.given();
    machine.input({ kind: 'serial', port: 0, bytes });
    this.#lastEventMs = performance.now();
  }

  /** The piped input is used up, and the guest only waits: for more, which can't come. */
  #isOver(machine: ReadyGuest['machine']): boolean {
    const port = machine.serialPort(0);
    if (this.#options.atEof === 'stay' || port === undefined || this.#piped?.done(port) !== true)
      return false;
    if (performance.now() - this.#lastEventMs < quietMs) return false;
    process.stderr.write(
      'revenant: the input has ended, and the guest waits for more: left it (--at-eof stay goes on)\n',
    );
    return true;
  }

  /** Exit code when the run is over. */
  async #ended(result: RunResult, { machine, planAgain }: ReadyGuest): Promise<number | undefined> {
    switch (result.reason) {
      case 'powerOff':
      case 'debugExit':
        return result.status ?? ExitCode.ok;
      case 'shutdown':
        process.stderr.write('revenant: the guest shut its processor down (triple fault)\n');
        return ExitCode.guestDied;
      case 'halted':
        process.stderr.write('revenant: the guest halted its processor with interrupts off\n');
        return ExitCode.guestDied;
      case 'reset':
        // Firmware starts by itself; a kernel that was started directly is started again.
        if (planAgain === undefined) return ExitCode.ok;
        machine.boot(await planAgain());
        return undefined;
      default:
        return undefined;
    }
  }

  /** Until then, or until something comes for the guest. This is on the way of each frame: a signal to abort would cost as much as the frame. */
  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }

  /** The start of a guest leaves 80 MB of heap that no collection would come for while it waits. */
  #tidy(quietMs: number): void {
    if (this.#tidied || quietMs < startedMs) return;
    this.#tidied = true;
    collectGarbage();
  }

  /** In a halt: until the next event is due on the wall clock, or input comes. */
  async #wait(
    machine: ReadyGuest['machine'],
    { nextEventNs, timeNs }: RunResult,
    pace: LivePace | undefined,
  ): Promise<void> {
    const quietMs = performance.now() - this.#lastEventMs;
    this.#warm?.waits(machine, quietMs);
    this.#tidy(quietMs);
    const dueMs =
      pace?.waitsMs ?? (nextEventNs === undefined ? maxSleepMs : Number(nextEventNs - timeNs) / 1e6);
    const untilMs = Math.min(machine.absentPages > 0 ? deliverySleepMs : maxSleepMs, dueMs);
    const began = performance.now();
    if (untilMs >= leastSleepMs) await this.#sleep(untilMs);
    else await nextTurn();
    // With a pace, the next turn lets the time pass.
    if (pace !== undefined) return;
    const passedMs = Math.max(performance.now() - began, untilMs >= leastSleepMs ? 0 : untilMs);
    machine.input({ kind: 'skip', toNs: timeNs + BigInt(Math.ceil(passedMs * 1e6)) });
  }
}

/** The display as PNG. */
function saveScreenshot({ display }: ReadyGuest['machine'], path: string): void {
  const picture = display.picture();
  const text = display.text();
  if (picture === undefined && text === undefined)
    throw new CliError(
      ExitCode.badInput,
      '--screenshot: the machine has no display',
      'a machine of type pc has one',
    );
  writeOutput(
    path,
    picture === undefined && text !== undefined
      ? screenPng(text)
      : encodeRgbPng(picture ?? { width: 0, height: 0, rgba: new Uint8Array(0) }),
  );
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => statSync(path, { throwIfNoEntry: false }));
  return a !== undefined && b !== undefined && a.isFile() && a.dev === b.dev && a.ino === b.ino;
}

/** Known before the guest runs: whether its checkpoint can be written in the end. */
function checkWritable(path: string): void {
  const probe = `${path}.${randomBytes(6).toString('hex')}`;
  new OutputFile('save', probe, 'wx').close();
  unlinkSync(probe);
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
