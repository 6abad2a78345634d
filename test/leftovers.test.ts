/** `npm start`, a chaos run and a Ceph for tests leave nothing behind, however they end: no process, namespace, mount or temporary folder. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../launcher.mjs', import.meta.url));

/** All processes below this one (proc(5), /proc/PID/task/TID/children). */
function descendants(pid: number): number[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    return [];
  }
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map(Number)
    .flatMap((child) => [child, ...descendants(child)]);
}

/** Whether it runs; a dead one that nobody has asked for yet does not. */
function alive(pid: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/exe`);
    return true;
  } catch {
    return false;
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `${what} within two minutes`);
    await sleep(50);
  }
}

const skip = process.platform === 'linux' ? false : 'looks into /proc';

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const)
  test(`a demo whose launcher gets ${signal}`, { skip, timeout: 300_000 }, async () => {
    const words = [launcher, 'demo', '--guest', 'builtin', '--profile', 'fast'];
    const started = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: started.stdout });
    const folder = await new Promise<string>((resolve, reject) => {
      lines.on('line', (line) => {
        const [, path] = /store file:(.*)\/store,/.exec(line) ?? [];
        if (path !== undefined) resolve(path);
      });
      started.once('exit', (code) => {
        reject(new Error(`the demo ended (${String(code)})`));
      });
    });
    // The demo itself, its guardian and three nodes.
    const { pid = 0 } = started;
    await until('the nodes start', () => descendants(pid).length >= 5 && existsSync(`${folder}/store`));
    const processes = descendants(pid);
    started.kill(signal);
    await until('all processes end', () => !processes.some(alive));
    await until('the folder is removed', () => !existsSync(folder));
  });

test('the folder of a bench that is killed', async () => {
  const harness = new URL('./chaos/harness.ts', import.meta.url).href;
  const script = `const { temporaryFolder } = await import(${JSON.stringify(harness)});
    console.log(await temporaryFolder('killed'));
    setInterval(() => undefined, 1000);`;
  const started = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const folder = await new Promise<string>((resolve, reject) => {
    createInterface({ input: started.stdout }).once('line', resolve);
    started.once('exit', (code) => reject(new Error(`it ended (${String(code)})`)));
  });
  assert.ok(existsSync(folder));
  started.kill('SIGKILL');
  await until('the folder is removed', () => !existsSync(folder));
});

/** Names of folders of a kind that there are now. */
const foldersOf = (kind: string): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(kind));

/** The first line of what it says that matches. */
async function said(child: ChildProcess, wanted: RegExp): Promise<RegExpExecArray> {
  const lines = createInterface({ input: child.stdout! });
  return new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const match = wanted.exec(line);
      if (match !== null) resolve(match);
    });
    child.once('exit', (code) => {
      reject(new Error(`it ended (${String(code)})`));
    });
  });
}

/** Words of the commands of all processes that name a folder. */
function naming(folder: string): number[] {
  const commands = spawnSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).stdout;
  return commands
    .split('\n')
    .filter((line) => line.includes(folder) && !line.includes('ps -eo'))
    .map((line) => Number.parseInt(line, 10));
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const)
  test(`a chaos run that gets ${signal}`, { skip, timeout: 300_000 }, async () => {
    const before = new Set(foldersOf('revenant-chaos-'));
    const main = fileURLToPath(new URL('./chaos/main.ts', import.meta.url));
    const words = [main, '--minutes', '9', '--nodes', '2', '--vms', '1', '--profile', 'default'];
    const started = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    await said(started, / seed /);
    const name = foldersOf('revenant-chaos-').find((each) => !before.has(each));
    assert.ok(name !== undefined);
    const folder = join(tmpdir(), name);
    // The guardian and two nodes.
    const { pid = 0 } = started;
    await until('the nodes start', () => descendants(pid).length >= 3 && existsSync(`${folder}/logs`));
    const processes = descendants(pid);
    started.kill(signal);
    await until('all processes end', () => !processes.some(alive));
    await until('the folder is removed', () => !existsSync(folder));
    assert.deepEqual(naming(folder), []);
    const spaces = (): string => spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
    await until('its namespaces are gone', () => !spaces().includes(`rvc${String(pid)}-`));
    assert.ok(!readFileSync('/proc/mounts', 'utf8').includes(folder));
  });

const withoutCeph = process.env['REVENANT_CEPH'] === '0' || spawnSync('which', ['radosgw']).status !== 0;
test(
  'daemons of Ceph whose starter is killed',
  { skip: skip || (withoutCeph && 'Ceph is not installed here'), timeout: 400_000 },
  async () => {
    const before = new Set(foldersOf('revenant-ceph-'));
    const module = JSON.stringify(new URL('../packages/storage/test-support/ceph.ts', import.meta.url).href);
    const text = `const { startCeph } = await import(${module}); console.log('up', JSON.stringify(await startCeph())); setInterval(() => undefined, 1000);`;
    const env = { ...process.env, CEPH_S3_PORT: '18480' };
    const started = spawn(process.execPath, ['--input-type=module', '-e', text], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [, answer = ''] = await said(started, /^up (.*)/);
    const name = foldersOf('revenant-ceph-').find((each) => !before.has(each));
    assert.ok(name !== undefined, answer);
    const folder = join(tmpdir(), name);
    const run = join(folder, 'run');
    const files = readdirSync(run).filter((file) => file.endsWith('.pid'));
    const daemons = files.map((file) => Number(readFileSync(join(run, file), 'utf8')));
    assert.ok(daemons.length >= 3 && daemons.every(alive), answer);
    started.kill('SIGKILL');
    await until('the daemons end', () => !daemons.some(alive));
    await until('the folder is removed', () => !existsSync(folder));
  },
);
