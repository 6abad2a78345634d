/** Nothing is left of a process and its temporary folder, however whoever started them ends. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const guardianModule = JSON.stringify(new URL('./guardian.ts', import.meta.url).href);

/** A program that starts a process that would run for ever, has it guarded with a folder, does `then`, and prints its number: whoever reads it may kill. */
const program = (folder: string, then: string): string => `
import { spawn } from 'node:child_process';
import { Guardian } from ${guardianModule};
const guardian = await Guardian.start();
guardian.remove(${JSON.stringify(folder)});
const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' });
guardian.watch(child);
${then}
console.log(child.pid);
`;

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `${what} within a minute`);
    await sleep(20);
  }
}

interface Started {
  starter: ChildProcess;
  pid: number;
  folder: string;
}

async function start(then = ''): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-guarded-'));
  await writeFile(join(folder, 'file'), 'content');
  const words = ['--input-type=module', '-e', program(folder, then)];
  const env = { ...process.env, GUARDED: folder };
  const starter = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: starter.stdout }).once('line', resolve);
    starter.once('exit', (code) => {
      reject(new Error(`the program ended (${String(code)})`));
    });
  });
  return { starter, pid: Number(line), folder };
}

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const)
  test(`after ${signal}, a frozen process and its folder are gone`, { timeout: 120_000 }, async () => {
    const { starter, pid, folder } = await start();
    process.kill(pid, 'SIGSTOP');
    starter.kill(signal);
    await until('the process ends', () => !alive(pid));
    await until('the folder is removed', () => !existsSync(folder));
  });

test('when the starter ends of itself, they are gone as well', { timeout: 120_000 }, async () => {
  const { pid, folder } = await start('child.unref();');
  await until('the process ends', () => !alive(pid));
  await until('the folder is removed', () => !existsSync(folder));
});

test('what is released stays', { timeout: 120_000 }, async () => {
  const { starter, pid, folder } = await start('guardian.release(); child.unref();');
  if (starter.exitCode === null) await new Promise((resolve) => starter.once('exit', resolve));
  try {
    assert.ok(alive(pid));
    assert.ok(existsSync(folder));
  } finally {
    process.kill(pid, 'SIGKILL');
    await rm(folder, { recursive: true });
  }
});

test('programs run when the processes are gone, before the folder goes', { timeout: 120_000 }, async () => {
  const note = join(await mkdtemp(join(tmpdir(), 'revenant-note-')), 'note');
  // Whoever adopted it may not have asked for its end yet: then it is a zombie (Z), and as good as gone.
  const gone = `case "$(cut -d' ' -f3 /proc/$2/stat 2>/dev/null)" in ''|Z) true;; *) false;; esac`;
  const look = `test -e "$1"/file && ${gone} && echo done > ${JSON.stringify(note)}`;
  const then = `guardian.run(['sh', '-c', ${JSON.stringify(look)}, 'sh', process.env.GUARDED ?? '', String(child.pid)]);`;
  const { starter, folder } = await start(then);
  starter.kill('SIGKILL');
  await until('the folder is removed', () => !existsSync(folder));
  assert.ok(existsSync(note));
  await rm(join(note, '..'), { recursive: true });
});

test(
  'a node that anything starts ends with it, without its doing anything for that',
  { timeout: 120_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'revenant-node-'));
    const processes = JSON.stringify(new URL('../demo/processes.ts', import.meta.url).href);
    const text = `
import { NodeProcess } from ${processes};
const where = ${JSON.stringify(folder)};
const { pid } = await NodeProcess.start({ store: 'file:' + where + '/store', name: 'a', profile: 'fast', logFile: where + '/log' });
console.log(pid);
`;
    const starter = spawn(process.execPath, ['--input-type=module', '-e', text], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const line = await new Promise<string>((resolve, reject) => {
        createInterface({ input: starter.stdout }).once('line', resolve);
        starter.once('exit', (code) => {
          reject(new Error(`the program ended (${String(code)})`));
        });
      });
      process.kill(Number(line), 'SIGSTOP');
      starter.kill('SIGKILL');
      await until('the node ends', () => !alive(Number(line)));
    } finally {
      starter.kill('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    }
  },
);
