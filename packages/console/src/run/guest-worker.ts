/**
 * The worker that runs one guest: the emulator as it is, in slices, so that between two of them it hears what the page says. A guest that
 * waits sleeps until its next event is due on the wall clock or something comes in.
 */
import {
  createMachine,
  DisplayWatcher,
  pcMemoryMap,
  planKernel,
  restoreMachine,
  type BootPlan,
  type EngineFactory,
  type Machine,
  type MachineBackends,
  type RunResult,
} from '@revenant/emulator';
import { fetchEngineModules, makeBrowserEngine } from '@revenant/emulator/host-browser';
import { openCheckpointBytes } from '@revenant/storage/browser';
import { makeBuiltinKernel } from '../../../../images/builtin/kernel.ts';
import type { FromGuest, GuestRequest, ToGuest } from './messages.ts';

/** Short at first: V8 has no on-stack replacement, so code becomes quick only between two slices. */
const firstSlice = 100_000;
const slice = 3_000_000;
const maxSleepMs = 20;
const screenMs = 50;
const progressMs = 500;
const builtinMemoryBytes = 16 * 2 ** 20;
/** The PC with a display for graphics. */
const boardVersion = 2;

type StartMessage = Extract<ToGuest, { type: 'start' }>;

const scope = self as unknown as {
  postMessage(message: FromGuest): void;
  addEventListener(type: 'message', listener: (event: MessageEvent<ToGuest>) => void): void;
};

function tell(message: FromGuest): void {
  scope.postMessage(message);
}

type BootRequest = Exclude<GuestRequest, { kind: 'checkpoint' }>;

function planOf(request: BootRequest, machine: Machine): BootPlan {
  const memoryMap = pcMemoryMap(machine.description.memoryBytes);
  const environment = { memoryMap, rsdpAddress: machine.rsdpAddress };
  if (request.kind === 'builtin')
    return planKernel({ kernel: makeBuiltinKernel(), commandLine: '', longMode: true }, environment);
  const { kernel, initrd, commandLine, longMode } = request;
  return planKernel(
    { kernel, ...(initrd === undefined ? {} : { initrd }), commandLine, longMode },
    environment,
  );
}

/** A machine ready to run; `plan` boots it again when the guest resets it, which a checkpoint has none for. */
async function makeMachine(
  request: GuestRequest,
  parts: { backends: MachineBackends; engine: EngineFactory },
): Promise<{ machine: Machine; plan?: BootPlan }> {
  if (request.kind === 'checkpoint') {
    const { snapshot } = await openCheckpointBytes(request.bytes);
    return { machine: await restoreMachine({ snapshot, ...parts }) };
  }
  const memoryBytes = request.kind === 'builtin' ? builtinMemoryBytes : request.memoryBytes;
  const epochNs = BigInt(Date.now()) * 1_000_000n;
  const machine = await createMachine({ description: { memoryBytes, epochNs, boardVersion }, ...parts });
  const plan = planOf(request, machine);
  machine.boot(plan);
  return { machine, plan };
}

class GuestRun {
  readonly #machine: Machine;
  readonly #plan: BootPlan | undefined;
  readonly #output: number[];
  #paused = false;
  #over = false;
  #slice = firstSlice;
  #wake: () => void = () => undefined;
  #screenAt = 0;
  readonly #watcher = new DisplayWatcher();
  #progressAt = 0;

  private constructor(machine: Machine, plan: BootPlan | undefined, output: number[]) {
    this.#machine = machine;
    this.#plan = plan;
    this.#output = output;
  }

  static async start({ request, modules, engine }: StartMessage): Promise<GuestRun> {
    const output: number[] = [];
    const { machine, plan } = await makeMachine(request, {
      backends: {
        serial: (port, byte) => {
          if (port === 0) output.push(byte);
        },
      },
      engine: makeBrowserEngine(await fetchEngineModules(new URL(modules)), { kind: engine }),
    });
    return new GuestRun(machine, plan, output);
  }

  hear(message: ToGuest): void {
    switch (message.type) {
      case 'serial':
        this.#machine.input({ kind: 'serial', port: 0, bytes: message.bytes });
        break;
      case 'key':
        this.#machine.input({ kind: 'key', code: message.code, pressed: message.pressed });
        break;
      case 'pointer': {
        const { dx, dy, dz, buttons } = message;
        this.#machine.input({ kind: 'mouse', dx, dy, dz, buttons });
        break;
      }
      case 'power-button':
        this.#machine.input({ kind: 'powerButton' });
        break;
      case 'reset':
        this.#machine.input({ kind: 'reset' });
        break;
      case 'pause':
        this.#paused = message.paused;
        tell({ type: 'state', state: message.paused ? 'paused' : 'running' });
        break;
      case 'start':
    }
    this.#wake();
  }

  async loop(): Promise<void> {
    tell({ type: 'state', state: 'running' });
    while (!this.#over) {
      if (this.#paused) {
        await this.#sleep(undefined);
        continue;
      }
      const result = this.#machine.run({ instructions: this.#slice, idle: 'wait' });
      this.#slice = slice;
      this.#report();
      this.#ended(result);
      if (this.#over) break;
      if (result.reason === 'idle') await this.#waitForEvent(result);
      else await nextTurn();
    }
  }

  #ended({ reason, status }: RunResult): void {
    switch (reason) {
      case 'reset':
        if (this.#plan === undefined)
          return this.#end('the guest reset its machine; a checkpoint has no kernel to boot');
        this.#machine.boot(this.#plan);
        return;
      case 'powerOff':
        return this.#end('the guest powered off');
      case 'debugExit':
        return this.#end(`the guest left with status ${String(status ?? 0)}`);
      case 'shutdown':
        return this.#end('the guest shut its processor down (triple fault)');
      case 'halted':
        return this.#end('the guest halted its processor with interrupts off');
      default:
    }
  }

  #end(reason: string): void {
    this.#over = true;
    this.#report(true);
    tell({ type: 'state', state: 'ended', reason });
  }

  async #waitForEvent({ nextEventNs, timeNs }: RunResult): Promise<void> {
    const untilMs =
      nextEventNs === undefined ? maxSleepMs : Math.min(maxSleepMs, Number(nextEventNs - timeNs) / 1e6);
    const began = performance.now();
    if (untilMs >= 1) await this.#sleep(untilMs);
    else await nextTurn();
    const passedMs = Math.max(performance.now() - began, untilMs >= 1 ? 0 : untilMs);
    this.#machine.input({ kind: 'skip', toNs: timeNs + BigInt(Math.ceil(passedMs * 1e6)) });
  }

  /** Until `ms` have passed or a message came. */
  #sleep(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #report(whole = false): void {
    if (this.#output.length > 0) tell({ type: 'serial', bytes: Uint8Array.from(this.#output.splice(0)) });
    const now = performance.now();
    if (whole || now - this.#screenAt >= screenMs) {
      this.#screenAt = now;
      this.#reportScreen();
    }
    if (!whole && now - this.#progressAt < progressMs) return;
    this.#progressAt = now;
    tell({ type: 'progress', instructions: this.#machine.instructions, timeNs: this.#machine.timeNs });
  }

  #reportScreen(): void {
    const seen = this.#machine.display.watch(this.#watcher);
    if (seen === undefined || seen.changed.length === 0) return;
    const { width, height, rgba } = seen.picture;
    tell({ type: 'picture', picture: { width, height, rgba: Uint8ClampedArray.from(rgba) } });
  }
}

const channel = new MessageChannel();
let turn: () => void = () => undefined;
channel.port1.onmessage = () => {
  turn();
};

/** Lets messages of the page in. Unlike a timer's, this turn comes at once. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    turn = resolve;
    channel.port2.postMessage(undefined);
  });
}

let running: GuestRun | undefined;

scope.addEventListener('message', ({ data }) => {
  if (data.type !== 'start') {
    running?.hear(data);
    return;
  }
  GuestRun.start(data)
    .then((run) => {
      running = run;
      return run.loop();
    })
    .catch((error: unknown) => {
      tell({ type: 'state', state: 'ended', reason: error instanceof Error ? error.message : String(error) });
    });
});
