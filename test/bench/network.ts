/**
 * `npm run bench -- network`: what a guest's network carries, beside QEMU's TCG with its user network: the same kernel, initial file
 * system and commands, one after the other in one run. All clients and servers are the same processes on the host.
 */
import { define } from '../../packages/cli/src/command/command.ts';
import { value } from '../../packages/cli/src/command/options.ts';
import { oneOf, positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { fetchImage } from '../../packages/cli/src/images/image.ts';

const root = join(import.meta.dirname, '../..');
const ports = { web: 80, echo: 7 } as const;

interface Figures {
  inMBs: number;
  outMBs: number;
  roundTripMs: number;
  connectionsPerSecond: number;
}

interface Guest {
  process: ChildProcess;
  web: number;
  echo: number;
}

/** What the guest does: a file to fetch, an echo, then fetches the host's file when it is told to by its own web server. */
function guestCommand(hostPort: number, megabytes: number): string {
  const count = String(megabytes);
  return [
    `dd if=/dev/zero of=/srv/www/big bs=1M count=${count} 2>/dev/null`,
    `nc -ll -p ${String(ports.echo)} -e cat & while ! ip route | grep -q default`,
    'do usleep 100000',
    'done',
    `while ! wget -q -O /dev/null http://10.0.2.2:${String(hostPort)}/ready`,
    'do usleep 100000',
    'done',
    `wget -q -O /dev/null http://10.0.2.2:${String(hostPort)}/big`,
    `wget -q -O /dev/null http://10.0.2.2:${String(hostPort)}/done`,
    'sleep 100000',
  ]
    .join(';')
    .replaceAll('& ;', '& ');
}

/** The host's server: tells when the guest is ready, and how long it took to fetch the file. */
class HostServer {
  readonly #server: Server;
  readonly ready = Promise.withResolvers<undefined>();
  readonly fetched = Promise.withResolvers<number>();

  constructor(megabytes: number) {
    const body = Buffer.alloc(megabytes * 1e6, 'revenant');
    let startedMs = 0;
    this.#server = createServer((request, response) => {
      if (request.url === '/ready') this.ready.resolve(undefined);
      if (request.url === '/big') startedMs = performance.now();
      if (request.url === '/done') this.fetched.resolve(performance.now() - startedMs);
      response.end(request.url === '/big' ? body : 'ok');
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

async function startRevenant(hostPort: number, command: string): Promise<Guest> {
  const [web, echo] = [await freePort(), await freePort()];
  const publish = [`${String(web)}:${String(ports.web)}`, `${String(echo)}:${String(ports.echo)}`];
  const args = [
    join(root, 'packages/cli/bin/revenant.mjs'),
    'run',
    'linux-cloud',
    '--memory',
    '512M',
    '--net',
    'user',
    '--serial',
    'none',
    ...publish.flatMap((each) => ['--publish', each]),
    '--host-port',
    String(hostPort),
    '--append',
    `run="${command}"`,
  ];
  return { process: spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] }), web, echo };
}

async function startQemu(_hostPort: number, command: string): Promise<Guest> {
  const [web, echo] = [await freePort(), await freePort()];
  const image = await fetchImage('linux-cloud', () => undefined);
  const forwards = `hostfwd=tcp:127.0.0.1:${String(web)}-:${String(ports.web)},hostfwd=tcp:127.0.0.1:${String(echo)}-:${String(ports.echo)}`;
  const args = [
    '-accel',
    'tcg',
    '-m',
    '512',
    '-nodefaults',
    '-display',
    'none',
    '-no-reboot',
    '-kernel',
    join(image.folder, 'vmlinuz'),
    '-initrd',
    join(image.folder, 'initrd.cpio'),
    '-append',
    `${image.manifest.commandLine} run="${command}"`,
    '-netdev',
    `user,id=n,${forwards}`,
    '-device',
    'virtio-net-pci,netdev=n',
  ];
  return {
    process: spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'ignore', 'inherit'] }),
    web,
    echo,
  };
}

async function measure(
  start: typeof startRevenant,
  { megabytes, seconds }: { megabytes: number; seconds: number },
): Promise<Figures> {
  const host = new HostServer(megabytes);
  const hostPort = await host.listen();
  const guest = await start(hostPort, guestCommand(hostPort, megabytes));
  try {
    await host.ready.promise;
    const inMs = await host.fetched.promise;
    const outMs = await download(guest.web, '/big', megabytes * 2 ** 20);
    const roundTripMs = await roundTrip(guest.echo, seconds);
    const connectionsPerSecond = await connections(guest.web, seconds);
    return {
      inMBs: (megabytes * 1000) / inMs,
      outMBs: (megabytes * 1.048576 * 1000) / outMs,
      roundTripMs,
      connectionsPerSecond,
    };
  } finally {
    guest.process.kill('SIGKILL');
    host.close();
  }
}

/** Milliseconds of a download of at least so many bytes. */
async function download(port: number, path: string, bytes: number): Promise<number> {
  const began = performance.now();
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.0\r\n\r\n`);
  let received = 0;
  socket.on('data', (data) => {
    received += data.length;
  });
  await once(socket, 'close');
  if (received < bytes) throw new Error(`${String(received)} of ${String(bytes)} bytes came`);
  return performance.now() - began;
}

/** Median of the time that a byte takes to the guest's echo and back, over one connection. */
async function roundTrip(port: number, seconds: number): Promise<number> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const times: number[] = [];
  for (const endMs = performance.now() + seconds * 1000; performance.now() < endMs;) {
    const began = performance.now();
    socket.write('x');
    await once(socket, 'data');
    times.push(performance.now() - began);
  }
  socket.destroy();
  times.sort((a, b) => a - b);
  return times[times.length >> 1] ?? NaN;
}

async function connections(port: number, seconds: number): Promise<number> {
  let count = 0;
  const began = performance.now();
  while (performance.now() - began < seconds * 1000) {
    await download(port, '/index.html', 50);
    count++;
  }
  return (count * 1000) / (performance.now() - began);
}

export const command = define({
  words: [],
  about: 'Throughput in and out, round trips, and connections a second.',
  options: {
    against: value('NAME', 'qemu: measure QEMU beside it', oneOf(['qemu'])),
    megabytes: value('N', 'that are sent each way, up to 200 (default 64)', wholeNumber(1, 200), 64),
    seconds: value('N', 'of round trips, and of connections (default 5)', positive, 5),
  },
  examples: ['network --against qemu'],
  async run({ options }) {
    const kinds: [string, typeof startRevenant][] = [['Revenant', startRevenant]];
    if (options.against === 'qemu') kinds.push(['QEMU TCG', startQemu]);
    console.log('              in MB/s   out MB/s   round trip ms   connections/s');
    for (const [name, start] of kinds) {
      const figures = await measure(start, options);
      console.log(
        name.padEnd(12),
        figures.inMBs.toFixed(1).padStart(8),
        figures.outMBs.toFixed(1).padStart(10),
        figures.roundTripMs.toFixed(2).padStart(15),
        figures.connectionsPerSecond.toFixed(1).padStart(15),
      );
    }
    return undefined;
  },
});
