/** What is asked of a guest's network, whoever runs the guest: iperf3 both ways, bytes there and back, and pages, each by a connection of its own. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { median } from './report.ts';

/** The guest has a server of iperf3 for each way, so that neither waits for the other's end. */
export const image = 'linux-server';
export const guestPorts = { web: 80, echo: 7, in: 5201, out: 5202 } as const;
/** Where they are on this host. */
export type Places = Record<keyof typeof guestPorts, number>;

export async function freePlaces(): Promise<Places> {
  const [web = 0, echo = 0, inwards = 0, out = 0] = await freePorts(4);
  return { web, echo, in: inwards, out };
}

/** What is measured, in this order; and the processor time that whoever runs the guest took for one of each, which other work on the host changes little. */
export const figureNames = [
  'in MB/s',
  'out MB/s',
  'round trip ms',
  'connections/s',
  'ms/MB in',
  'ms/MB out',
  'ms/round trip',
  'ms/connection',
] as const;
export type Figures = Record<(typeof figureNames)[number], number>;

const run = promisify(execFile);
/** Of each transfer, before it counts. */
const omittedSeconds = 1;

/** A word of the guest's kernel command line: what it does beside serving pages and iperf3. */
export function guestWord(): string {
  const script = [
    `nc -ll -p ${String(guestPorts.echo)} -e cat &`,
    `iperf3 -s -p ${String(guestPorts.out)} >/dev/null &`,
    'echo yes >/srv/www/ready',
    'sleep 100000',
  ].join('\n');
  return `run="echo ${Buffer.from(script).toString('base64')} | base64 -d | sh"`;
}

export async function untilReady({ web }: Places): Promise<void> {
  while (!(await page(web, '/ready').catch(() => '')).includes('yes')) await sleep(200);
}

/** `processorMs`: what whoever runs the guest has used so far. */
export async function measure(places: Places, seconds: number, processorMs: () => number): Promise<Figures> {
  let before = processorMs();
  const used = (): number => {
    const ms = processorMs() - before;
    before += ms;
    return ms;
  };
  const inwards = await iperf(places.in, seconds, []);
  const inUsed = used();
  const outwards = await iperf(places.out, seconds, ['--reverse']);
  const outUsed = used();
  const trips = await roundTrips(places.echo, seconds);
  const tripsUsed = used();
  const count = await connections(places.web, seconds);
  return {
    'in MB/s': inwards.perSecond,
    'out MB/s': outwards.perSecond,
    'round trip ms': median(trips),
    'connections/s': count / seconds,
    'ms/MB in': inUsed / inwards.megabytes,
    'ms/MB out': outUsed / outwards.megabytes,
    'ms/round trip': tripsUsed / trips.length,
    'ms/connection': used() / count,
  };
}

/** Megabytes that were received in a second, and in all; those of the start count in the second figure only. */
async function iperf(
  port: number,
  seconds: number,
  words: readonly string[],
): Promise<{ perSecond: number; megabytes: number }> {
  const time = ['--time', String(seconds), '--omit', String(omittedSeconds)];
  const place = ['--client', '127.0.0.1', '--port', String(port)];
  const { stdout } = await run('iperf3', [...place, ...time, '--json', ...words], { maxBuffer: 2 ** 24 });
  const report = JSON.parse(stdout) as {
    intervals: { sum: { bytes: number } }[];
    end: { sum_received: { bits_per_second: number } };
  };
  const bytes = report.intervals.reduce((sum, each) => sum + each.sum.bytes, 0);
  return { perSecond: report.end.sum_received.bits_per_second / 8e6, megabytes: bytes / 1e6 };
}

/** What a page's connection brings until its end. */
async function page(port: number, path: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.0\r\n\r\n`);
  let text = '';
  socket.on('data', (data) => (text += data.toString('latin1')));
  await once(socket, 'close');
  return text;
}

/** How long a byte takes to the guest's echo and back, over one connection, again and again. */
async function roundTrips(port: number, seconds: number): Promise<number[]> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const times: number[] = [];
  for (const endMs = performance.now() + seconds * 1000; performance.now() < endMs;) {
    const began = performance.now();
    socket.write('x');
    await once(socket, 'data');
    times.push(performance.now() - began);
  }
  socket.destroy();
  return times;
}

/** How many pages are had, one after the other, each by a connection of its own. */
async function connections(port: number, seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  for (; performance.now() < end; count++) {
    if ((await page(port, '/index.html')).length < 50) throw new Error('a page did not come');
  }
  return count;
}
