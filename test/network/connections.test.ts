/**
 * A thousand connections at one time through a published port of a Linux guest, which echoes what each says: all of them are answered, again and
 * again, over the connection that they began with, and the process that runs the guest does not grow with their number. Needs the image linux-cloud.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { imageOrSkip } from '../linux/shell.ts';

const root = join(import.meta.dirname, '../..');
const count = 1000;
/** Fewer than a gateway lets wait for an answer (256), and than Linux lets wait for a server by default. */
const atOneTime = 100;
/** Buffers of both ends, sockets and flows: far less than the 512 KiB that a connection may hold in each direction. */
const maxBytesOfConnection = 64 << 10;
/** A process of the guest with its stack, tables and sockets, in guest memory that nobody used before. */
const guestBytesOfConnection = 256 << 10;

function startGuest(): ChildProcess & { stderr: NonNullable<ChildProcess['stderr']> } {
  const words = 'run linux-cloud --memory 512M --net user --publish 0:7 --serial none'.split(' ');
  const append = ['--append', 'quiet run="nc -ll -p 7 -e cat"'];
  return spawn(process.execPath, [join(root, 'packages/cli/bin/revenant.mjs'), ...words, ...append], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

async function publishedPort(guest: ReturnType<typeof startGuest>): Promise<number> {
  for await (const line of createInterface(guest.stderr)) {
    const [, port] = /127\.0\.0\.1:(\d+) is the guest's tcp port 7/.exec(line) ?? [];
    if (port !== undefined) return Number(port);
  }
  return assert.fail('the guest did not start');
}

/** Of this process and those that it started. */
function residentBytes(pid: number): number {
  const own =
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  const pids = children === '' ? [] : children.split(' ').map(Number);
  return pids.reduce((sum, child) => sum + residentBytes(child), own);
}

async function echo(socket: Socket, text: string): Promise<number> {
  const beganMs = performance.now();
  let heard = '';
  const answered = new Promise<void>((resolve, reject) => {
    socket.on('data', (data) => {
      heard += data.toString();
      if (heard.length >= text.length) resolve();
    });
    socket.once('close', () => reject(new Error('a connection has ended')));
  });
  socket.write(text);
  await answered;
  socket.removeAllListeners('data');
  socket.removeAllListeners('close');
  assert.equal(heard, text);
  return performance.now() - beganMs;
}

async function enter(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  // Its close tells of it.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** One that is answered. The guest may be on its way, and BusyBox's nc lets so few wait that Linux may forget of one that it has them. */
async function firstAnswer(port: number): Promise<Socket> {
  for (;;) {
    const socket = await enter(port);
    const answer = await echo(socket, 'is anybody there').catch(() => undefined);
    if (answer !== undefined) return socket;
    socket.destroy();
    await sleep(200);
  }
}

it('a thousand open connections through a published port are all answered, in bounded memory', async (context) => {
  if ((await imageOrSkip(context, 'linux-cloud')) === undefined) return;
  const guest = startGuest();
  const sockets: Socket[] = [];
  try {
    const port = await publishedPort(guest);
    sockets.push(await firstAnswer(port));
    while (sockets.length < count / 2)
      sockets.push(...(await many(port, Math.min(atOneTime, count / 2 - sockets.length))));
    const half = residentBytes(guest.pid!);
    while (sockets.length < count)
      sockets.push(...(await many(port, Math.min(atOneTime, count - sockets.length))));
    for (let round = 1; round <= 2; round++) {
      const times = await Promise.all(
        sockets.map((socket, n) => echo(socket, `round ${round}, connection ${n}`)),
      );
      times.sort((a, b) => a - b);
      context.diagnostic(
        `round ${round}: ${sockets.length} answers, the middle one after ${times[count >> 1]!.toFixed(0)} ms, the last after ${times.at(-1)!.toFixed(0)} ms`,
      );
    }
    const grown = residentBytes(guest.pid!) - half;
    context.diagnostic(`500 more connections: ${(grown / 2 ** 20).toFixed(1)} MiB more`);
    // The guest's own memory is part of it: what its processes touched first.
    assert.ok(grown < (count / 2) * (maxBytesOfConnection + guestBytesOfConnection), `${grown} bytes more`);
  } finally {
    for (const socket of sockets) socket.destroy();
    guest.kill('SIGKILL');
    guest.stderr.destroy();
  }
});

/** So many, begun at one time, each answered once. */
async function many(port: number, length: number): Promise<Socket[]> {
  return Promise.all(Array.from({ length }, () => firstAnswer(port)));
}
