/** `npm start` leaves nothing behind, however it ends: no process, no temporary folder. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
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
