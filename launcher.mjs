#!/usr/bin/env node
/**
 * Starts everything: `npm start`, `npm test`, `npm run bench`, `npm run chaos`, `npm run attack`, `npm run pack`, `npm run build` and the command `revenant` come
 * through this file. It uses nothing but Node 20's own modules, because it runs before anything is installed:
 *
 *   1. installs the packages of package-lock.json when they are missing or of another version;
 *   2. finds Node 24 (the host's own, or the one that npm brought along), which runs TypeScript directly;
 *   3. builds the WebAssembly binaries, the page, the command line and what guests' threads load when a source has changed (release/build-stamp.mjs);
 *   4. runs what was asked for, in that Node, and passes on its exit status.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BuildStamp } from './release/build-stamp.mjs';
import { fail, findRuntime, handOver, log } from './packages/cli/bin/runtime.mjs';

const root = fileURLToPath(new URL('.', import.meta.url));
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
    // A package of this repository has no version there, only a link.
    if (installed[path] === undefined || installed[path].version !== locked.version) return false;
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

/** Runs one script of ours to its end; its data goes to stderr, as it is only progress. */
function buildStep(runtime, script) {
  const path = join(root, script);
  if (!existsSync(path)) return;
  const result = spawnSync(runtime, [path], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) fail(`build step failed: ${script}`, 'the lines above say why');
}

/** `anyway`: asks each step, also when nothing seems to have changed. */
function build(runtime, anyway) {
  const stamp = new BuildStamp(root);
  if (!anyway && stamp.isCurrent()) return;
  stamp.begin();
  buildStep(runtime, 'packages/emulator/src/build.ts');
  buildStep(runtime, 'packages/cluster/build.ts');
  buildStep(runtime, 'packages/cli/build.ts');
  buildStep(runtime, 'packages/console/build.ts');
  stamp.end();
}

/** The command line: in few files, from which it starts faster, where packages/cli/build.ts has made them. */
function commandLine() {
  const source = 'packages/cli/src/main.ts';
  const list = join(root, 'build', 'cli', 'files.json');
  if (!existsSync(list)) return join(root, source);
  const { folder, entries } = readJson(list);
  return join(root, 'build', 'cli', folder, entries[source]);
}

/** Runs a program of ours in place of this one. */
const run = (runtime, args, cwd) =>
  handOver(runtime, args, { cwd, compileCache: join(root, 'node_modules', '.cache', 'node') });

/** @param {string[]} argv what the person typed after the command's name */
export function main(argv) {
  const [command, ...rest] = argv;
  installPackages();
  const runtime = findRuntime();
  build(runtime, command === 'build');
  const cli = commandLine();
  switch (command) {
    case 'build':
      return;
    case 'test':
      return run(runtime, [join(root, 'test', 'suite', 'main.ts'), ...rest], root);
    case 'bench':
      return run(runtime, [join(root, 'test', 'bench', 'main.ts'), ...rest], root);
    case 'attack':
      return run(runtime, [join(root, 'test', 'attack', 'main.ts'), ...rest], root);
    case 'chaos':
      return run(runtime, [join(root, 'test', 'chaos', 'main.ts'), ...rest], root);
    case 'pictures':
      return run(runtime, [join(root, 'test', 'pictures', 'main.ts'), ...rest], root);
    case 'pack':
      return run(runtime, [join(root, 'release', 'main.ts'), ...rest], root);
    case 'start':
      return run(runtime, [cli, 'demo', ...rest], root);
    default:
      return run(runtime, [cli, ...argv], process.cwd());
  }
}

const startedDirectly =
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (startedDirectly) main(process.argv.slice(2));
