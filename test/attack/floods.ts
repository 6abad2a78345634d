/**
 * Floods of strangers against a node process, on loopback: what the node holds, and whether somebody with the token gets an answer meanwhile.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterClient } from '@revenant/cluster';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

export interface FloodFigures {
  name: string;
  connections: number;
  /** Slowest answer to a client with the token. */
  slowestMs: number;
  /** How often it had to ask again, as its connection was turned out before it had proved the token. */
  askedAgain: number;
  /** Most resident memory of the node, over what it had before. */
  grownMiB: number;
}

export const residentMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1] ?? 0) / 1024;

const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n';
const mebibyte = Buffer.alloc(1 << 20);

/** What each connection of a flood says first, and then again and again. */
const floods: readonly { name: string; first: string; again: string | Buffer }[] = [
  { name: 'connections that say nothing', first: '', again: '' },
  {
    name: 'headers that never end',
    first: 'GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n',
    again: 'X-A: b\r\n',
  },
  {
    name: 'bodies of strangers',
    first: `PUT /v1/blobs/${'0'.repeat(64)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${String(256 << 20)}\r\n\r\n`,
    again: mebibyte,
  },
  {
    name: 'links that say nothing',
    first: `GET /v1/link HTTP/1.1\r\nHost: 127.0.0.1\r\n${upgrade}`,
    again: '',
  },
  {
    name: 'links that send much',
    first: `GET /v1/link HTTP/1.1\r\nHost: 127.0.0.1\r\n${upgrade}`,
    again: mebibyte,
  },
  {
    name: 'questions for challenges',
    first: '',
    again: 'GET /v1/challenge HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
  },
];

/** Runs every flood for `ms` with `width` connections at once, one after the other. `address` must be on loopback. */
export async function flood(options: {
  address: string;
  pid: number;
  token: string;
  ms: number;
  width: number;
}): Promise<FloodFigures[]> {
  const { address, pid, token, ms, width } = options;
  const [host = '', port = ''] = address.split(':');
  if (host !== '127.0.0.1') throw new RangeError('floods go to loopback only');
  const client = new ClusterClient({ nodes: [address], token, answerMs });
  const found: FloodFigures[] = [];
  for (const { name, first, again } of floods) {
    const before = residentMiB(pid);
    const figures: FloodFigures = { name, connections: 0, slowestMs: 0, askedAgain: 0, grownMiB: 0 };
    const sockets = new Set<Socket>();
    const open = (): void => {
      figures.connections++;
      const socket = connect(Number(port), host);
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
      socket.resume();
      if (first !== '') socket.write(first);
    };
    const until = performance.now() + ms;
    while (performance.now() < until) {
      for (let n = sockets.size; n < width; n++) open();
      for (const socket of sockets) if (again !== '' && socket.writableLength === 0) socket.write(again);
      const asked = performance.now();
      // A flood may turn out who has not proved the token yet: whoever has it asks again.
      while ((await client.status().catch(() => undefined)) === undefined) figures.askedAgain++;
      figures.slowestMs = Math.max(figures.slowestMs, performance.now() - asked);
      figures.grownMiB = Math.max(figures.grownMiB, residentMiB(pid) - before);
      await sleep(20);
    }
    for (const socket of sockets) socket.destroy();
    found.push(figures);
  }
  await client.close();
  return found;
}
