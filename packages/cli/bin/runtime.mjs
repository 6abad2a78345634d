/**
 * Finds a Node that is new enough and hands the terminal over to it. Both ways in use it: the launcher of the repository and the command of
 * the installed package. It has to run in older versions of Node too.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';

/** The least major version of Node that runs the programs. */
const runtimeMajor = 24;
/** How often a process that npm started looks whether npm is still there. */
const parentCheckMs = 1000;

/** Status of a failure before a program of ours runs (EX_SOFTWARE of sysexits.h); others come from the program. */
const launcherFailed = 70;

export function log(line) {
  process.stderr.write(`revenant: ${line}\n`);
}

export function fail(line, hint) {
  log(line);
  if (hint !== undefined) process.stderr.write(`  hint: ${hint}\n`);
  process.exit(launcherFailed);
}

/** Path of a Node of at least version 24: this one, or what npm brought along as an optional package. */
export function findRuntime() {
  if (Number(process.versions.node.split('.')[0]) >= runtimeMajor) return process.execPath;
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const file = process.platform === 'win32' ? 'node.exe' : 'node';
  const name = `node-${platform}-${process.arch}`;
  try {
    const found = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'bin', file);
    if (existsSync(found)) return found;
  } catch {
    // It isn't installed.
  }
  return fail(
    `Node ${runtimeMajor} is needed, and npm has brought none for ${platform}-${process.arch}`,
    `install Node ${runtimeMajor} or newer (https://nodejs.org) and start again with it`,
  );
}

/** Settings of the terminal, to be put back should the program die without doing so itself. */
function saveTerminal() {
  if (!process.stdin.isTTY || process.platform === 'win32') return () => {};
  const saved = spawnSync('stty', ['-g'], { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' });
  if (saved.status !== 0) return () => {};
  return () => spawnSync('stty', [saved.stdout.trim()], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/**
 * Runs Node 24 with these arguments on our own terminal, passes signals on, and ends as it ends. It keeps what it makes of sources (types
 * stripped, compiled) for the next process: half of the start of each. Should we be killed, the child hears of it by the end of a pipe
 * (packages/cli/src/parent.ts); should npm be, which passes no signal on then, we do by having another parent.
 */
export function handOver(runtime, args, { cwd, compileCache }) {
  const restoreTerminal = saveTerminal();
  const env = {
    // Threads of file operations: with Node's default of four, a node's lease waits for checkpoints of many VMs.
    UV_THREADPOOL_SIZE: '16',
    // V8's compiling threads leave what they are done with to the allocator, which keeps it, in a heap for each thread, unless told otherwise: 70 MB.
    MALLOC_ARENA_MAX: '2',
    MALLOC_TRIM_THRESHOLD_: '131072',
    NODE_COMPILE_CACHE: compileCache,
    ...process.env,
    REVENANT_PARENT_PIPE: '3',
  };
  const child = spawn(runtime, args, { cwd, env, stdio: ['inherit', 'inherit', 'inherit', 'pipe'] });
  child.stdio[3].on('error', () => {});
  child.stdio[3].unref();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    // A terminal sends SIGINT to the whole group; the program has it already and decides what to do.
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal)));
  }
  if (process.env.npm_lifecycle_event !== undefined) {
    const parent = process.ppid;
    setInterval(() => {
      if (process.ppid !== parent) child.kill('SIGTERM');
    }, parentCheckMs).unref();
  }
  child.on('error', (error) => fail(`can't start ${runtime}: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal !== null) restoreTerminal();
    process.exit(code ?? 128 + constants.signals[signal]);
  });
}
