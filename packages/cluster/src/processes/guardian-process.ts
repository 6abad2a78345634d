/** The process of a guardian (guardian.ts). Its standard input is the pipe; it ends when that does. */
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuardianWord } from './guardian.ts';

const goneWithinMs = 10_000;
const pollMs = 20;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const pids = new Set<number>();
const folders = new Set<string>();
const programs: (readonly string[])[] = [];

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const word = JSON.parse(line) as GuardianWord;
  if ('kill' in word) pids.add(word.kill);
  else if ('forget' in word) pids.delete(word.forget);
  else if ('run' in word) programs.push(word.run);
  else if ('remove' in word) folders.add(word.remove);
  else process.exit(0);
}
for (const pid of pids) if (exists(pid)) process.kill(pid, 'SIGKILL');
// A process that is being killed may still write into its folder.
for (let waited = 0; waited < goneWithinMs && [...pids].some(exists); waited += pollMs) await sleep(pollMs);
for (const [program = '', ...words] of programs)
  spawnSync(program, words, { stdio: 'ignore', timeout: goneWithinMs });
for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
