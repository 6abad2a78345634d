/**
 * A Linux guest on its own network, with this host's sockets: its web server is reached by a published port, a file goes in and comes out
 * again unharmed, and many small downloads succeed. Needs the images linux-cloud and linux-amd64.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { imageOrSkip } from '../linux/shell.ts';

const root = join(import.meta.dirname, '../..');
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Asks until there is an answer: the guest is on its way. */
async function page(url: string): Promise<Uint8Array> {
  for (;;) {
    const response = await fetch(url, { headers: { connection: 'close' } }).catch(() => undefined);
    if (response?.ok === true) {
      const body = await response.bytes().catch(() => undefined);
      if (body !== undefined) return body;
    }
    await sleep(200);
  }
}

/** What a client hears first that connects now, whether the guest is up or not, and when: an answer, or a reset. */
async function firstWord(place: string): Promise<{ word: string; ms: number }> {
  const began = performance.now();
  const [host, port] = place.split(':');
  const socket = connect({ host: host!, port: Number(port) });
  socket.write('GET / HTTP/1.0\r\n\r\n');
  const word = await new Promise<string>((heard) => {
    socket.once('data', () => heard('an answer'));
    socket.once('end', () => heard('the end'));
    socket.once('error', ({ code, message }: NodeJS.ErrnoException) => heard(code ?? message));
  });
  socket.destroy();
  return { word, ms: performance.now() - began };
}

const guests = [
  { image: 'linux-cloud', nic: 'virtio', fileBytes: 8_000_000 },
  { image: 'linux-amd64', nic: 'e1000', fileBytes: 4_000_000 },
  { image: 'linux-amd64', nic: 'rtl8139', fileBytes: 2_000_000 },
] as const;

for (const guest of guests)
  it(`a Linux guest serves and fetches over its own network, by a card ${guest.nic}`, async (context) => {
    if ((await imageOrSkip(context, guest.image)) !== undefined) await serveAndFetch(context, guest);
  });

async function serveAndFetch(
  context: TestContext,
  { image, nic, fileBytes }: (typeof guests)[number],
): Promise<void> {
  const file = randomBytes(fileBytes);
  const host = createServer((_request, response) => response.end(file)).listen(0, '127.0.0.1');
  await once(host, 'listening');
  const { port } = host.address() as AddressInfo;
  // Renamed within one file system: until it is whole nobody finds it.
  const fetchIt = `while ! wget -q -O /srv/big http://10.0.2.2:${String(port)}/big; do usleep 200000; done`;
  const command = `${fetchIt}; mv /srv/big /srv/www/big; sleep 100000`;
  const args = [
    join(root, 'launcher.mjs'),
    'run',
    image,
    '--net',
    'user',
    '--nic',
    nic,
    '--publish',
    '0:80',
    '--host-port',
    String(port),
    '--serial',
    'none',
    '--append',
    `run="${command}"`,
  ];
  const guest = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    let web = '';
    for await (const line of createInterface(guest.stderr)) {
      web = /(127\.0\.0\.1:\d+) is the guest's tcp port 80/.exec(line)?.[1] ?? '';
      if (web !== '') break;
    }
    assert.notEqual(web, '', 'the guest did not start');
    const early = await firstWord(web);
    const heard = `${early.word} after ${early.ms.toFixed(0)} ms`;
    assert.ok(early.ms < 45_000, `a client that came before the guest was up heard ${heard}`);
    context.diagnostic(`a client that came first heard ${heard}`);
    assert.match(new TextDecoder().decode(await page(`http://${web}/`)), /Hello from revenant/);
    assert.equal(digest(await page(`http://${web}/big`)), digest(file));
    for (let n = 0; n < 30; n++) {
      const response = await fetch(`http://${web}/index.html`, { headers: { connection: 'close' } });
      assert.match(await response.text(), /Hello from revenant/);
    }
  } finally {
    guest.kill('SIGKILL');
    host.close();
    host.closeAllConnections();
  }
}
