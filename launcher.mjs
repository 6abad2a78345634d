#!/usr/bin/env node
/**
 * Starts everything: `npm start`, `npm test`, `npm run bench`, `npm run chaos`, `npm run attack`, `npm run build` and the command `revenant` come
 * through this file. It uses nothing but Node 20's own modules, because it runs before anything is installed:
 *
 *   1. installs the packages of package-lock.json when they are missing or of another version;
 *   2. finds Node 24 (the host's own, or the one that npm brought along), which runs TypeScript directly;
 *   3. builds the WebAssembly binaries when their sources changed;
 *   4. runs what was asked for, in that Node, and passes on its exit status.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const runtimeMajor = 24;
/** Folders that hold tests, in the order in which they are started. */
const testFolders = ['.ci', 'test', 'packages', 'images'];

/** Status of a failure of the launcher itself (EX_SOFTWARE of sysexits.h); others come from the program it runs. */
const launcherFailed = 70;

function log(line) {
  process.stderr.write(`revenant: ${line}\n`);
}

function fail(line, hint) {
  log(line);
  if (hint !== undefined) process.stderr.write(`  hint: ${hint}\n`);
  process.exit(launcherFailed);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/**
 * Whether every package of the lock file is installed in the locked version. npm keeps its own list of what it
 * installed in node_modules/.package-lock.json, so two small files are compared and no folder is walked.
 */
function packagesAreCurrent() {
  const installedList = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedList)) return false;
  const installed = readJson(installedList).packages;
  for (const [path, locked] of Object.entries(readJson(join(root, 'package-lock.json')).packages)) {
    if (!path.startsWith('node_modules/') || locked.optional === true) continue;
    if (installed[path]?.version !== locked.version) return false;
  }
  return true;
}

function installPackages() {
  if (packagesAreCurrent()) return;
  const fresh = !existsSync(join(root, 'node_modules'));
  const command = fresh ? 'ci' : 'install';
  log(`installing packages (npm ${command}); this happens once`);
  const options = [command, '--no-audit', '--no-fund', '--loglevel=error'];
  // Under `npm start` npm tells where its own script lies, which works on every system alike.
  const npmScript = process.env.npm_execpath;
  const result =
    npmScript !== undefined && /npm-cli\.c?js$/.test(npmScript)
      ? spawnSync(process.execPath, [npmScript, ...options], { cwd: root, stdio: ['ignore', 2, 2] })
      : spawnSync('npm', options, {
          cwd: root,
          stdio: ['ignore', 2, 2],
          shell: process.platform === 'win32',
        });
  if (result.status !== 0) {
    fail(
      `npm ${command} failed${result.error ? `: ${result.error.message}` : ''}`,
      'check the network, then run the same command again',
    );
  }
}

/** Path of a Node of at least version 24. */
function findRuntime() {
  if (Number(process.versions.node.split('.')[0]) >= runtimeMajor) return process.execPath;
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const file = process.platform === 'win32' ? 'node.exe' : 'node';
  const candidates = [
    join(root, 'node_modules', `node-${platform}-${process.arch}`, 'bin', file),
    join(root, 'node_modules', '.bin', file),
  ];
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) {
    fail(
      `Node ${runtimeMajor} is needed, and npm has none for ${platform}-${process.arch}`,
      `install Node ${runtimeMajor} or newer (https://nodejs.org) and start again with it`,
    );
  }
  return found;
}

/** Runs one script of ours to its end; its data goes to stderr, as it is only progress. */
function buildStep(runtime, script) {
  const path = join(root, script);
  if (!existsSync(path)) return;
  const result = spawnSync(runtime, [path], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) fail(`build step failed: ${script}`, 'the lines above say why');
}

function build(runtime) {
  buildStep(runtime, 'packages/emulator/src/build.ts');
  buildStep(runtime, 'packages/console/build.ts');
}

/** All test files below a folder, sorted, so that every run starts them in the same order. */
function findTests(folder) {
  if (!existsSync(folder)) return [];
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === 'node_modules') continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...findTests(path));
    else if (entry.name.endsWith('.test.ts')) found.push(path);
  }
  return found.sort();
}

/**
 * Arguments of Node's test runner. `npm test` runs everything: lint, format, types and layers are tests like the others
 * (.ci/house.test.ts). `npm test -- storage x87` runs the files whose path contains one of the words.
 */
function testArguments(words) {
  const options = words.filter((word) => word.startsWith('-'));
  const filters = words.filter((word) => !word.startsWith('-'));
  const files = testFolders
    .flatMap((folder) => findTests(join(root, folder)))
    .filter((file) => filters.length === 0 || filters.some((word) => relative(root, file).includes(word)));
  if (files.length === 0) fail(`no test file matches ${filters.join(' ')}`, 'npm test -- PART_OF_A_PATH…');
  const jobs = Math.max(2, availableParallelism() - 1);
  return ['--test', `--test-concurrency=${jobs}`, ...options, ...files.map((file) => relative(root, file))];
}

/** Settings of the terminal, to be put back should the program die without doing so itself. */
function saveTerminal() {
  if (!process.stdin.isTTY || process.platform === 'win32') return () => {};
  const saved = spawnSync('stty', ['-g'], { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' });
  if (saved.status !== 0) return () => {};
  return () => spawnSync('stty', [saved.stdout.trim()], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** How often a process that npm started looks whether npm is still there. */
const parentCheckMs = 1000;

/**
 * Runs Node 24 with these arguments on our own terminal, passes signals on, and ends as it ends. It keeps what it makes of sources (types
 * stripped, compiled) for the next process: half of the start of each. Should we be killed, the child hears of it by the end of a pipe
 * (packages/cli/src/parent.ts); should npm be, which passes no signal on then, we do by having another parent.
 */
function handOver(runtime, args, cwd) {
  const restoreTerminal = saveTerminal();
  const env = {
    // Threads of file operations: with Node's default of four, a node's lease waits for checkpoints of many VMs.
    UV_THREADPOOL_SIZE: '16',
    NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node'),
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

/** @param {string[]} argv what the person typed after the command's name */
export function main(argv) {
  const [command, ...rest] = argv;
  installPackages();
  const runtime = findRuntime();
  build(runtime);
  const cli = join(root, 'packages', 'cli', 'src', 'main.ts');
  switch (command) {
    case 'build':
      return;
    case 'test':
      return handOver(runtime, testArguments(rest), root);
    case 'bench':
      return handOver(runtime, [join(root, 'test', 'bench', 'main.ts'), ...rest], root);
    case 'attack':
      return handOver(runtime, [join(root, 'test', 'attack', 'main.ts'), ...rest], root);
    case 'chaos':
      return handOver(runtime, [join(root, 'test', 'chaos', 'main.ts'), ...rest], root);
    case 'start':
      return handOver(runtime, [cli, 'demo', ...rest], root);
    default:
      return handOver(runtime, [cli, ...argv], process.cwd());
  }
}

const startedDirectly =
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (startedDirectly) main(process.argv.slice(2));
