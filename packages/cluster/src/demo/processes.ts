/** Node processes for drills: start, kill, freeze, thaw, cut off. */
import { spawn, type ChildProcess } from 'node:child_process';
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ProfileName } from '../decisions/settings.ts';
import { ClusterError } from '../errors.ts';
import { Guardian } from '../processes/guardian.ts';

const main = fileURLToPath(new URL('../node/main.ts', import.meta.url));

export interface ProcessOptions {
  store: string;
  heartbeatStores?: readonly string[];
  name: string;
  profile: ProfileName;
  /** Where its log goes. */
  logFile: string;
  /** Words before its command: what it is to run in. */
  within?: readonly string[];
  /** Address other than loopback, and the file of the token that it then needs. */
  listen?: string;
  tokenFile?: string;
  /** Further words of its command. */
  words?: readonly string[];
  /** Another script than that of a plain node. */
  main?: string;
  /** Ends it should this process be killed. Default: that of this process. */
  guardian?: Guardian;
}

export class NodeProcess {
  readonly name: string;
  readonly pid: number;
  readonly address: string;
  /** Resolves when it has ended, with the signal that ended it or its exit code. */
  readonly whenEnded: Promise<NodeJS.Signals | number>;
  readonly #child: ChildProcess;
  readonly #guardian: Guardian;

  private constructor(name: string, child: ChildProcess, address: string, guardian: Guardian) {
    this.name = name;
    this.#child = child;
    this.#guardian = guardian;
    this.whenEnded = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? code ?? 0));
    });
    this.pid = child.pid!;
    this.address = address;
  }

  /** Starts a node; resolves when it listens. */
  static async start(options: ProcessOptions): Promise<NodeProcess> {
    const { store, heartbeatStores = [], name, profile, logFile, within = [], listen, tokenFile } = options;
    const words = [options.main ?? main, '--store', store, '--name', name, '--profile', profile, '--drills'];
    words.push(...heartbeatStores.flatMap((url) => ['--heartbeat-store', url]));
    if (listen !== undefined) words.push('--listen', listen);
    if (tokenFile !== undefined) words.push('--token-file', tokenFile);
    words.push(...(options.words ?? []));
    const [program = process.execPath, ...rest] = [...within, process.execPath, ...words];
    // Threads of file operations: with Node's default of four, a lease waits for checkpoints of many VMs.
    const env = { UV_THREADPOOL_SIZE: '16', ...process.env };
    const guardian = options.guardian ?? (await Guardian.ofProcess());
    const child = spawn(program, rest, { env, stdio: ['ignore', 'pipe', openSync(logFile, 'a')] });
    guardian.watch(child);
    const line = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout! }).once('line', resolve);
      child.once('exit', (code) =>
        reject(new ClusterError('RUNTIME', `node ${name} ended (${String(code)}); see ${logFile}`)),
      );
    });
    return new NodeProcess(name, child, (JSON.parse(line) as { address: string }).address, guardian);
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Lets it outlive this process. */
  release(): void {
    this.#guardian.forget(this.#child);
    this.#child.stdout?.destroy();
    this.#child.unref();
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Drops its messages to and from these peers (`*`: all), and those from the ones it is deaf to; none: whole again. */
  async cut(cut: readonly string[], deaf: readonly string[] = []): Promise<void> {
    const body = JSON.stringify({ cut, deaf });
    await fetch(`http://${this.address}/v1/drill`, { method: 'POST', body });
  }
}
