/**
 * The worker that runs one guest: the emulator as it is, in slices, so that between two of them it hears what the page says. A guest that
 * waits sleeps until its next event is due on the wall clock or something comes in.
 */
import {
  createMachine,
  DisplayWatcher,
  LivePace,
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
import { ownNode } from '../shared/node-files.ts';
import { textPicture } from '../shared/text-picture.ts';
import type { FromGuest, GuestRequest, ToGuest } from './messages.ts';
import { RemoteCheckpoint } from '../shared/remote-checkpoint.ts';

const maxSleepMs = 20;
const leastSleepMs = 1;
/** A worker's clock, which is coarse unless the page is isolated; it always is. */
const paceHost = { nowNs: (): bigint => BigInt(Math.round(performance.now() * 1e6)) };
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

type BootRequest = Exclude<GuestRequest, { kind: 'checkpoint' | 'remote' }>;

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
): Promise<{ machine: Machine; plan?: BootPlan; remote?: RemoteCheckpoint }> {
  if (request.kind === 'remote') {
    const remote = await RemoteCheckpoint.open(ownNode, request.address);
    const { snapshot, absent, disks } = remote;
    const backends = { ...parts.backends, disks };
    return { machine: await restoreMachine({ ...parts, snapshot, absent, backends }), remote };
  }
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
  readonly #pace: LivePace;
  readonly #plan: BootPlan | undefined;
  readonly #output: number[];
  #paused = false;
  #over = false;
  #wake: () => void = () => undefined;
  #screenAt = 0;
  readonly #watcher = new DisplayWatcher();
  #takesPlaces = false;
  #progressAt = 0;
  /** The last text screen that was told. */
  #text = '';

  private constructor(machine: Machine, plan: BootPlan | undefined, output: number[]) {
    this.#machine = machine;
    this.#pace = new LivePace(machine, paceHost);
    this.#plan = plan;
    this.#output = output;
  }

  static async start({ request, modules, engine }: StartMessage): Promise<GuestRun> {
    const output: number[] = [];
    const { machine, plan, remote } = await makeMachine(request, {
      backends: {
        serial: (port, byte) => {
          if (port === 0) output.push(byte);
        },
      },
      engine: makeBrowserEngine(await fetchEngineModules(new URL(modules)), { kind: engine }),
    });
    const run = new GuestRun(machine, plan, output);
    if (remote !== undefined) void run.#bringIn(remote);
    return run;
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
        // A mouse counts upwards, a page downwards.
        this.#machine.input({ kind: 'mouse', dx, dy: -dy, dz, buttons });
        break;
      }
      case 'point': {
        const { x, y, dz, buttons } = message;
        this.#machine.input({ kind: 'tablet', x, y, dz, buttons });
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
        this.#pace.rest();
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
      const result = this.#pace.turn();
      this.#report();
      this.#ended(result);
      if (this.#over) break;
      if (result.reason === 'idle') await this.#waitForEvent();
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

  /** In a halt: until the next event is due on the wall clock, or input comes. The next turn lets the time pass. */
  async #waitForEvent(): Promise<void> {
    const untilMs = Math.min(maxSleepMs, this.#pace.waitsMs);
    if (untilMs >= leastSleepMs) await this.#sleep(untilMs);
    else await nextTurn();
  }

  /** Pages that the guest did not ask for yet come between its turns. */
  async #bringIn(remote: RemoteCheckpoint): Promise<void> {
    try {
      for await (const { indexes, bytes } of remote.rest()) {
        if (this.#over) return;
        this.#machine.deliver(indexes, bytes);
      }
    } catch (error) {
      this.#end(
        `the node gives no more of its memory: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
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

  /** Of a machine whose display knows text only. */
  #reportText(): void {
    const screen = this.#machine.screen();
    const text = screen === undefined ? '' : JSON.stringify({ ...screen, cells: [...screen.cells] });
    if (screen === undefined || text === this.#text) return;
    this.#text = text;
    tell({ type: 'picture', picture: textPicture(screen) });
  }

  #reportScreen(): void {
    const { takesTablet } = this.#machine;
    if (takesTablet !== this.#takesPlaces) tell({ type: 'takes-places', places: takesTablet });
    this.#takesPlaces = takesTablet;
    const seen = this.#machine.display.watch(this.#watcher);
    if (seen === undefined) return this.#reportText();
    if (seen.changed.length === 0) return;
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
