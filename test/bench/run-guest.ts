/** Starts one emulator with one guest and takes the time of the lines that begin with @@ (images/bench). */
import { spawn, spawnSync } from 'node:child_process';
import type { Emulator } from './emulators.ts';
import type { Guest } from './guests.ts';

export interface Measurement {
  seconds: number;
  /** Digest of the guest's results: the same on every emulator that is right. */
  digest: string;
}

export interface GuestRun {
  /** By benchmark; only those that ended. */
  measurements: Map<string, Measurement>;
  /** From the start of the process to the line of the userland; only Linux guests. */
  bootSeconds?: number;
  /** Undefined when the guest came to its end. */
  trouble?: string;
}

interface MarkReader {
  run: GuestRun;
  /** True when the guest said that it is done. */
  read(line: string, timeMs: number): boolean;
}

/** @param startMs when the emulator was started, on the clock of `read` */
export function markReader(startMs: number): MarkReader {
  const run: GuestRun = { measurements: new Map() };
  const began = new Map<string, number>();
  return {
    run,
    read(line, timeMs) {
      const [, what, name = '', digest = ''] = /@@ (\w+) ?(\S*) ?(\S*)/.exec(line) ?? [];
      // An emulator inside a browser says when the browser is ready for it.
      if (what === 'start') startMs = timeMs;
      if (what === 'up') run.bootSeconds = (timeMs - startMs) / 1000;
      if (what === 'begin') began.set(name, timeMs);
      const start = began.get(name);
      if (what === 'end' && start !== undefined)
        run.measurements.set(name, { seconds: (timeMs - start) / 1000, digest });
      return what === 'done';
    },
  };
}

export interface RunOptions {
  timeoutMs: number;
  /** Bind the emulator with all of its threads to the first processor. */
  pinned: boolean;
}

/** Whether this host can bind a process to a processor (util-linux). */
export function canPin(): boolean {
  return spawnSync('taskset', ['-c', '0', 'true'], { stdio: 'ignore' }).status === 0;
}

/** Never rejects: what went wrong is told in `trouble`. */
export function runGuest(emulator: Emulator, guest: Guest, options: RunOptions): Promise<GuestRun> {
  return new Promise((resolve) => {
    const words = [...(options.pinned ? ['taskset', '-c', '0'] : []), ...emulator.command(guest)];
    const reader = markReader(performance.now());
    const child = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let rest = '';
    let tail = '';
    let done = false;
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs);
    const keep = (text: string): void => {
      tail = (tail + text).slice(-1000);
    };
    child.stderr.setEncoding('utf8').on('data', keep);
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      const timeMs = performance.now();
      keep(text);
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      if (!lines.some((line) => reader.read(line, timeMs))) return;
      done = true;
      child.kill('SIGKILL');
    });
    child.on('error', (error) => {
      keep(error.message);
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      const how =
        signal === 'SIGKILL' ? `stopped after ${options.timeoutMs / 1000} s` : `ended (${signal ?? status})`;
      if (!done)
        reader.run.trouble = `${how}; its last words: ${tail.trim().split('\n').slice(-3).join(' | ')}`;
      resolve(reader.run);
    });
  });
}
