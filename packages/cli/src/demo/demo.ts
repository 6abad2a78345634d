/**
 * The main job, before your eyes: a guest computes a chain, its process is killed with SIGKILL twice, and another process carries
 * the computation on from the last checkpoint in the store. At the end the whole console, as the guest knows it, is checked
 * step by step.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { builtinChain, checkChain, readSteps, sha256Chain } from './chain.ts';
import { demoGuest, type DemoGuest } from './guest.ts';
import type { StartMessage, VmMessage } from './messages.ts';

const kills = 2;
/** Steps that a process makes before it is killed, and after the last resume. */
const stepsBetween = 25;
const checkpointIntervalMs = 500;
const patienceMs = 100_000;

const program = fileURLToPath(new URL('vm-process.ts', import.meta.url));

interface Cut {
  instructions: bigint;
  consoleBytes: number;
}

/** One process that runs the VM, as the demo sees it. */
class Watched {
  readonly name: string;
  readonly child: ChildProcess;
  console = '';
  readonly cuts: Cut[] = [];
  running: Extract<VmMessage, { kind: 'running' }> | undefined;
  durable: Extract<VmMessage, { kind: 'durable' }>[] = [];
  failed: string | undefined;
  #changed: () => void = () => undefined;

  constructor(name: string, start: StartMessage) {
    this.name = name;
    this.child = fork(program, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.child.stderr?.on('data', (data: Buffer) => (this.failed = data.toString().trim()));
    this.child.on('exit', () => {
      this.failed ??= 'the process ended by itself';
      this.#changed();
    });
    this.child.on('message', (message: VmMessage) => {
      this.#take(message);
      this.#changed();
    });
    this.child.send(start);
  }

  #take(message: VmMessage): void {
    if (message.kind === 'console') this.console += message.text;
    else if (message.kind === 'running') this.running = message;
    else if (message.kind === 'cut')
      this.cuts.push({ instructions: BigInt(message.instructions), consoleBytes: message.consoleBytes });
    else if (message.kind === 'durable') this.durable.push(message);
    else this.failed = `the guest ended: ${message.reason}`;
  }

  /** Waits until `condition` holds; throws when the process fails or `deadline` (performance.now) passes. */
  async until(what: string, deadline: number, condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.failed !== undefined) throw new Error(`${this.name}: ${this.failed}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`${this.name}: no ${what} within ${patienceMs / 1000} s`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 1000));
        this.#changed = (): void => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  get lastStep(): number {
    return readSteps(this.console).at(-1)?.step ?? 0;
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await gone;
  }
}

export interface DemoOptions {
  guest?: 'linux' | 'builtin';
  /** Receives the time line, a line at a time. */
  say: (line: string) => void;
}

class Demo {
  readonly #say: (line: string) => void;
  readonly #began = performance.now();
  readonly #deadline = this.#began + patienceMs;
  readonly #storeUrl: string;
  readonly #guest: DemoGuest;
  /** The console as the guest knows it: what was printed behind a checkpoint is cut off when the guest goes on from there. */
  #history = '';
  #repeated = 0;

  constructor(guest: DemoGuest, storeUrl: string, say: (line: string) => void) {
    this.#guest = guest;
    this.#storeUrl = storeUrl;
    this.#say = say;
  }

  #line(text: string): void {
    this.#say(`${((performance.now() - this.#began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  }

  #start(name: string): Watched {
    const start = {
      storeUrl: this.#storeUrl,
      vmId: 'demo',
      owner: name,
      intervalMs: checkpointIntervalMs,
      guest: this.#guest,
    };
    return new Watched(name, start);
  }

  async run(): Promise<boolean> {
    let process = this.#start('node-1');
    try {
      await process.until('start', this.#deadline, () => process.running !== undefined);
      this.#line(`node-1 starts the guest: ${this.#guest.title}`);
      await process.until('first step', this.#deadline, () => process.lastStep > 0);
      this.#line(`the guest is up and computes: ${lastLine(process.console)}`);
      for (let n = 1; n <= kills; n++) {
        const [step, checkpoints] = [process.lastStep, process.durable.length];
        await process.until(
          'progress',
          this.#deadline,
          () => process.lastStep >= step + stepsBetween && process.durable.length >= checkpoints + 2,
        );
        process = await this.#failOver(process, `node-${n + 1}`);
      }
      const from = process.lastStep;
      await process.until('progress', this.#deadline, () => process.lastStep >= from + stepsBetween);
      return this.#judge(process);
    } finally {
      await process.kill();
    }
  }

  /** Kills the process that runs the VM and resumes it in another. */
  async #failOver(dying: Watched, name: string): Promise<Watched> {
    await dying.kill();
    const killedAt = performance.now();
    const last = dying.durable.at(-1);
    this.#line(
      `${dying.name} is killed with SIGKILL at step ${dying.lastStep}; ${dying.durable.length} checkpoints, the last with ${last?.pages ?? 0} pages, ${Math.round((last?.storedBytes ?? 0) / 1024)} KiB, pause ${(last?.pauseMs ?? 0).toFixed(1)} ms`,
    );
    const successor = this.#start(name);
    await successor.until('resume', this.#deadline, () => successor.running !== undefined);
    const resumedMs = performance.now() - killedAt;
    const instructions = BigInt(successor.running?.instructions ?? 0);
    const cut = dying.cuts.find((c) => c.instructions === instructions);
    if (cut === undefined)
      throw new Error(`${name} resumed at instruction ${instructions}, where no checkpoint was cut`);
    const seen = dying.lastStep;
    this.#history += dying.console.slice(0, cut.consoleBytes);
    const kept = readSteps(this.#history).at(-1)?.step ?? 0;
    this.#repeated += seen - kept;
    this.#line(
      `${name} resumes it from checkpoint ${successor.running?.resumedFrom ?? ''} (epoch ${successor.running?.epoch ?? 0}), ${resumedMs.toFixed(0)} ms after the kill, behind step ${kept}`,
    );
    await successor.until('next step', this.#deadline, () => successor.lastStep > kept);
    this.#line(`the computation goes on: ${lastLine(successor.console)}`);
    return successor;
  }

  #judge(survivor: Watched): boolean {
    const { steps, fault } = checkChain(
      this.#history + survivor.console,
      this.#guest.chain === 'sha256' ? sha256Chain : builtinChain,
    );
    if (fault !== undefined) {
      this.#line(`FAILED: the chain is broken: ${fault}`);
      return false;
    }
    this.#line(
      `PASSED: ${steps} steps in one unbroken chain through ${kills} deaths; ${this.#repeated} of them were computed again, none was lost, none is wrong`,
    );
    return true;
  }
}

function lastLine(console: string): string {
  const { step, digest } = readSteps(console).at(-1) ?? { step: 0, digest: '' };
  return `step ${step} ${digest.slice(0, 16)}…`;
}

/** Runs the demo; true when the chain held. */
export async function runDemo({ guest, say }: DemoOptions): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-demo-'));
  try {
    const chosen = await demoGuest(guest, say);
    return await new Demo(chosen, pathToFileURL(folder).href.replace('file://', 'file:'), say).run();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
