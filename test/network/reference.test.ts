/**
 * The gateway's TCP against the host's own stack. In a network namespace of its own, `socat` ties a tap device (which the kernel's stack
 * uses as its only network) to datagrams that this test takes as frames; what is lost, doubled and turned round is decided here, from a
 * seed. Needs root, unshare and socat; says so where they are missing.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { defaultGatewaySettings } from '../../packages/network/src/gateway/settings.ts';
import { UserNetwork } from '../../packages/network/src/host-node/user-network.ts';
import { Random } from '../../packages/simulation/src/random.ts';

const inside = process.env.REVENANT_NAMESPACE === 'yes';

function missing(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  try {
    execFileSync('socat', ['-V'], { stdio: 'ignore' });
    execFileSync('unshare', ['-n', 'ip', 'tuntap', 'add', 'mode', 'tap', 'name', 'probe0'], {
      stdio: 'ignore',
    });
    return undefined;
  } catch {
    return 'needs socat, iproute2 and the right to make a tap device';
  }
}

interface Trouble {
  loss: number;
  duplication: number;
  reordering: number;
}

/** A gateway on one end of a path that makes trouble, the kernel's stack on the other, at 10.0.2.15. */
class Reference {
  readonly network: UserNetwork;
  readonly #socket: DatagramSocket;
  readonly #socat: ChildProcess;
  readonly #random: Random;
  readonly #trouble: Trouble;
  #held: (() => void) | undefined;

  private constructor(socket: DatagramSocket, socat: ChildProcess, seed: number, trouble: Trouble) {
    this.#socket = socket;
    this.#socat = socat;
    this.#random = new Random(seed);
    this.#trouble = trouble;
    const forwards = [
      { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 9000, guestPort: 7000 },
    ] as const;
    this.network = new UserNetwork({ ...defaultGatewaySettings(), forwards, hostPorts: [9001] }, (frame) => {
      this.#pass(() => {
        socket.send(frame, 9100, '127.0.0.1');
      });
    });
    socket.on('message', (frame) => {
      this.#pass(() => {
        this.network.send([new Uint8Array(frame)]);
      });
    });
  }

  static async open(seed: number, trouble: Trouble): Promise<Reference> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 2 ** 22, sendBufferSize: 2 ** 22 });
    socket.bind(9101, '127.0.0.1');
    await once(socket, 'listening');
    const tun = 'TUN:10.0.2.15/24,tun-type=tap,tun-name=ref0,iff-no-pi,up';
    const socat = spawn('socat', ['-b', '65536', tun, 'UDP4-DATAGRAM:127.0.0.1:9101,bind=127.0.0.1:9100'], {
      stdio: 'inherit',
    });
    // The device announces itself: from then on the path stands.
    await once(socket, 'message');
    const reference = new Reference(socket, socat, seed, trouble);
    await reference.network.open();
    return reference;
  }

  #pass(deliver: () => void): void {
    const random = this.#random;
    if (random.chance(this.#trouble.loss)) return;
    if (random.chance(this.#trouble.reordering) && this.#held === undefined) {
      this.#held = deliver;
      // What is held up goes behind the next one, or after a while.
      setTimeout(() => {
        this.#release();
      }, 20);
      return;
    }
    deliver();
    if (random.chance(this.#trouble.duplication)) deliver();
    this.#release();
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  async close(): Promise<void> {
    await this.network.close();
    this.#socat.kill('SIGKILL');
    await once(this.#socat, 'exit');
    this.#socket.close();
  }
}

function bytesOf(seed: number, length: number): Buffer {
  const random = new Random(seed);
  return Buffer.from(Uint8Array.from({ length }, () => random.integer(0, 255)));
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Sends all, ends, reads to the end. */
async function talk(socket: Socket, toSend: Buffer): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (data) => parts.push(data));
  socket.end(toSend);
  await once(socket, 'end');
  return Buffer.concat(parts);
}

const troubles: Record<string, Trouble> = {
  'a good path': { loss: 0, duplication: 0, reordering: 0 },
  'loss of 2%': { loss: 0.02, duplication: 0, reordering: 0 },
  'doubles and turned round': { loss: 0, duplication: 0.1, reordering: 0.1 },
  'all together': { loss: 0.03, duplication: 0.05, reordering: 0.05 },
};

if (inside)
  describe('TCP of the gateway against the kernel', () => {
    for (const [name, trouble] of Object.entries(troubles))
      for (const opener of ['host', 'guest'] as const)
        it(`${name}: both directions at once, opened by the ${opener}`, async () => {
          const reference = await Reference.open(7, trouble);
          const [one, two] = [bytesOf(1, 300_000), bytesOf(2, 300_000)];
          // The side behind the gateway is this host's loopback, the guest's side the tap device: both are this process.
          const server = createServer({ allowHalfOpen: true });
          const [address, port] = opener === 'host' ? ['10.0.2.15', 7000] : ['127.0.0.1', 9001];
          server.listen(port, address);
          await once(server, 'listening');
          const accepted = once(server, 'connection') as Promise<[Socket]>;
          const client =
            opener === 'host'
              ? connect({ port: 9000, host: '127.0.0.1', allowHalfOpen: true })
              : connect({ port: 9001, host: '10.0.2.2', allowHalfOpen: true });
          const [socket] = await accepted;
          const [atServer, atClient] = await Promise.all([talk(socket, one), talk(client, two)]);
          assert.deepEqual([digest(atServer), digest(atClient)], [digest(two), digest(one)]);
          assert.ok((server.address() as AddressInfo).port > 0);
          server.close();
          await reference.close();
        });
  });
else
  it('TCP of the gateway against the kernel', { skip: missing() ?? false }, () => {
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const command = `ip link set lo up; exec "${process.execPath}" --test "${import.meta.filename}"`;
    execFileSync('unshare', ['-n', 'sh', '-c', command], {
      env: { ...env, REVENANT_NAMESPACE: 'yes' },
      stdio: 'pipe',
    });
  });
