/** What is asked of a guest's network, whoever runs the guest: the same processes on the host are client and server of all of them. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from './report.ts';

/** Ports of the guest: its files, an echo, and one where whoever connects lets it fetch the host's file. */
export const guestPorts = { web: 80, echo: 7, fetch: 81 } as const;
/** Where they are on this host. */
export type Places = Record<keyof typeof guestPorts, number>;

export interface Load {
  /** That are sent each way. */
  megabytes: number;
  /** Of round trips, and of connections. */
  seconds: number;
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

const bytesOf = ({ megabytes }: Load): number => megabytes * 1e6;

/** A web server of the host with the file that guests fetch. */
export class HostFile {
  readonly #server;
  #beganMs = 0;

  constructor(load: Load) {
    const body = Buffer.alloc(bytesOf(load), 'revenant');
    this.#server = createServer((_request, response) => {
      this.#beganMs = performance.now();
      response.end(body);
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** When it was asked for last. */
  get beganMs(): number {
    return this.#beganMs;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** A word of the guest's kernel command line: what it does, where `host` is the host's file in its network. */
export function guestWord(host: string, load: Load): string {
  const script = [
    `echo "wget -q -O /dev/null http://${host}/" >/srv/fetch`,
    `nc -ll -p ${String(guestPorts.echo)} -e cat &`,
    `nc -ll -p ${String(guestPorts.fetch)} -e sh /srv/fetch &`,
    `head -c ${String(bytesOf(load))} /dev/zero >/srv/www/big`,
    'echo yes >/srv/www/ready',
    'sleep 100000',
  ].join('\n');
  return `run="echo ${Buffer.from(script).toString('base64')} | base64 -d | sh"`;
}

/** Resolves when the guest has its file, and with it all the rest. */
export async function untilReady({ web }: Places): Promise<void> {
  for (;;) {
    const answer = await download(web, 'GET /ready').catch(() => undefined);
    if (answer?.text.includes('yes') === true) return;
    await sleep(200);
  }
}

/** `processorMs`: what whoever runs the guest has used so far. */
export async function measure(
  file: HostFile,
  places: Places,
  load: Load,
  processorMs: () => number,
): Promise<Figures> {
  const { megabytes, seconds } = load;
  let before = processorMs();
  const used = (): number => {
    const ms = processorMs() - before;
    before += ms;
    return ms;
  };
  const { endedMs } = await download(places.fetch, '');
  const inMs = endedMs - file.beganMs;
  const inUsed = used();
  const outBegan = performance.now();
  const { bytes } = await download(places.web, 'GET /big');
  if (bytes < bytesOf(load)) throw new Error(`${String(bytes)} of ${String(bytesOf(load))} bytes came`);
  const outMs = performance.now() - outBegan;
  const outUsed = used();
  const trips = await roundTrips(places.echo, seconds);
  const tripsUsed = used();
  const count = await connections(places.web, seconds);
  return {
    'in MB/s': (megabytes * 1000) / inMs,
    'out MB/s': (megabytes * 1000) / outMs,
    'round trip ms': median(trips),
    'connections/s': count / seconds,
    'ms/MB in': inUsed / megabytes,
    'ms/MB out': outUsed / megabytes,
    'ms/round trip': tripsUsed / trips.length,
    'ms/connection': used() / count,
  };
}

/** Sends a request, and reads to the connection's end. */
async function download(
  port: number,
  request: string,
): Promise<{ bytes: number; text: string; endedMs: number }> {
  const socket = connect(port, '127.0.0.1');
  if (request !== '') socket.write(`${request} HTTP/1.0\r\n\r\n`);
  let bytes = 0;
  let text = '';
  socket.on('data', (data) => {
    bytes += data.length;
    if (text.length < 1000) text += data.toString('latin1', 0, 1000);
  });
  await once(socket, 'close');
  return { bytes, text, endedMs: performance.now() };
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
    const { bytes } = await download(port, 'GET /index.html');
    if (bytes < 50) throw new Error('a page did not come');
  }
  return count;
}
