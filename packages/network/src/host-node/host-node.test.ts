/** A guest's network on real sockets of this host. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { defaultGatewaySettings, type GatewaySettings } from '../gateway/settings.ts';
import {
  arpFrame,
  datagramsOf,
  gatewayAddress,
  guestAddress,
  segmentsOf,
  tcpGuestFrame,
  udpFrame,
} from '../testing/guest.ts';
import { ArpOperation } from '../wire/arp.ts';
import { TcpFlag, type TcpSegment } from '../wire/tcp.ts';
import { plugInto, vdeFraming } from './plug-peer.ts';
import { FrameSplitter, StreamPeer } from './stream-peer.ts';
import { UserNetwork } from './user-network.ts';

/** A network whose frames for the guest can be waited for. */
class Guest {
  readonly network: UserNetwork;
  #frames: Uint8Array[] = [];
  #look: () => void = () => undefined;

  constructor(settings: Partial<GatewaySettings> = {}, arrived?: () => void) {
    const take = (frame: Uint8Array): void => {
      this.#frames.push(frame);
      this.#look();
    };
    this.network = new UserNetwork(
      { ...defaultGatewaySettings(), ...settings },
      take,
      arrived && { arrived },
    );
    this.network.send([arpFrame(ArpOperation.request, gatewayAddress)]);
    this.#frames = [];
  }

  /** The next frame that `find` makes something of. */
  async next<T>(find: (frame: Uint8Array) => T | undefined): Promise<T> {
    for (;;) {
      for (const [n, frame] of this.#frames.entries()) {
        const found = find(frame);
        if (found === undefined) continue;
        this.#frames.splice(0, n + 1);
        return found;
      }
      await new Promise<void>((done) => {
        this.#look = done;
      });
    }
  }

  segment(flags: number): Promise<TcpSegment> {
    return this.next((frame) =>
      segmentsOf([{ kind: 'frame', frame }]).find((segment) => (segment.flags & flags) === flags),
    );
  }
}

async function echoServer(): Promise<{ port: number; close: () => void; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close(), sockets };
}

describe('a network with the sockets of this host', () => {
  it('connects a guest to a port of the host that was opened, and carries bytes there and back', async () => {
    const server = await echoServer();
    const guest = new Guest({ hostPorts: [server.port] });
    const ends = { sourcePort: 1000, destinationPort: server.port };
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.syn, sequence: 9 })]);
    const answer = await guest.segment(TcpFlag.syn | TcpFlag.ack);
    const at = { ...ends, sequence: 10, acknowledgment: answer.sequence + 1 };
    const payload = new TextEncoder().encode('hello');
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...at, flags: TcpFlag.ack, payload })]);
    const echo = await guest.segment(TcpFlag.psh);
    assert.deepEqual(echo.payload.slice(), payload);
    const rest = { ...at, sequence: 15, acknowledgment: answer.sequence + 6 };
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...rest, flags: TcpFlag.ack | TcpFlag.fin })]);
    await guest.segment(TcpFlag.fin);
    await guest.network.close();
    server.close();
  });

  it('gathers what connections bring until its owner wants it', async () => {
    const server = await echoServer();
    const arrived = Promise.withResolvers<undefined>();
    const guest = new Guest({ hostPorts: [server.port] }, () => {
      arrived.resolve(undefined);
    });
    const ends = { sourcePort: 1000, destinationPort: server.port };
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.syn, sequence: 9 })]);
    const answer = await guest.segment(TcpFlag.syn | TcpFlag.ack);
    server.sockets[0]!.write('hello');
    await arrived.promise;
    const keys = { ...ends, sequence: 10, acknowledgment: answer.sequence + 1, flags: TcpFlag.ack };
    guest.network.send([tcpGuestFrame(gatewayAddress, keys)]);
    const flow = [...guest.network.state.tcp.values()][0]!;
    assert.equal(flow.tcp!.queue.length, 0);
    guest.network.settle();
    assert.equal(flow.tcp!.queue.length, 5);
    assert.equal((await guest.segment(TcpFlag.psh)).payload.length, 5);
    await guest.network.close();
    server.close();
  });

  it('uses the memory of large frames again, and carries every byte', async () => {
    const sent = Uint8Array.from({ length: 1_000_000 }, (_, at) => (at * 7) ^ (at >> 8));
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(sent);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const guest = new Guest({ hostPorts: [port], frameBytes: 65_549 });
    const ends = { sourcePort: 1000, destinationPort: port };
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.syn, sequence: 9 })]);
    const answer = await guest.segment(TcpFlag.syn | TcpFlag.ack);
    const first = (answer.sequence + 1) >>> 0;
    const received = new Uint8Array(sent.length);
    const memories = new Set<ArrayBufferLike>();
    let large = 0;
    let at = 0;
    const acknowledge = (): void => {
      const acknowledgment = (first + at) >>> 0;
      guest.network.send([
        tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.ack, sequence: 10, acknowledgment }),
      ]);
    };
    acknowledge();
    while (at < sent.length) {
      const frame = await guest.next((one) => one);
      for (const { payload, sequence } of segmentsOf([{ kind: 'frame', frame }])) {
        // On a slow host something may come twice.
        if ((sequence - first) >>> 0 !== at) continue;
        received.set(payload, at);
        at += payload.length;
      }
      if (frame.length > 0x4000) {
        large++;
        memories.add(frame.buffer);
      }
      frame.fill(0xee);
      guest.network.done(frame);
      acknowledge();
    }
    assert.deepEqual(received, sent);
    assert.ok(memories.size < large, `${memories.size.toString()} memories for ${large.toString()} frames`);
    await guest.network.close();
    server.close();
  });

  it('refuses what the host refuses', async () => {
    const server = await echoServer();
    server.close();
    const guest = new Guest({ hostPorts: [server.port] });
    guest.network.send([tcpGuestFrame(gatewayAddress, { destinationPort: server.port, flags: TcpFlag.syn })]);
    assert.ok(await guest.segment(TcpFlag.rst));
    await guest.network.close();
  });

  it('resets the peer of a guest that resets', async () => {
    const server = await echoServer();
    const guest = new Guest({ hostPorts: [server.port] });
    const ends = { sourcePort: 1000, destinationPort: server.port };
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.syn })]);
    await guest.segment(TcpFlag.syn | TcpFlag.ack);
    const [socket] = server.sockets;
    const ended = new Promise((done) => socket!.on('close', done));
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.rst, sequence: 1 })]);
    await ended;
    await guest.network.close();
    server.close();
  });

  it('lets a client of the host in by a forward', async () => {
    const forward = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 0, guestPort: 80 } as const;
    const guest = new Guest({ forwards: [forward] });
    const [port] = await guest.network.open();
    const client = connect(port!, '127.0.0.1');
    const syn = await guest.segment(TcpFlag.syn);
    const ends = {
      sourcePort: 80,
      destinationPort: syn.sourcePort,
      sequence: 77,
      acknowledgment: syn.sequence + 1,
    };
    guest.network.send([tcpGuestFrame(gatewayAddress, { ...ends, flags: TcpFlag.syn | TcpFlag.ack })]);
    client.write('GET');
    const request = await guest.segment(TcpFlag.psh);
    assert.equal(new TextDecoder().decode(request.payload), 'GET');
    client.destroy();
    await guest.network.close();
  });

  it('says which port it could not have', async () => {
    const server = await echoServer();
    const forward = {
      protocol: 'tcp',
      hostAddress: '127.0.0.1',
      hostPort: server.port,
      guestPort: 80,
    } as const;
    await assert.rejects(
      new Guest({ forwards: [forward] }).network.open(),
      /can't listen on 127\.0\.0\.1:\d+\/tcp/,
    );
    server.close();
  });

  it('carries datagrams to the host and back', async () => {
    const server = createSocket('udp4').bind(0, '127.0.0.1');
    await once(server, 'listening');
    server.on('message', (message, { port, address }) => {
      server.send(message, port, address);
    });
    const { port } = server.address();
    const guest = new Guest({ hostPorts: [port] });
    const data = new TextEncoder().encode('echo');
    guest.network.send([udpFrame(gatewayAddress, { sourcePort: 5, destinationPort: port, data })]);
    const back = await guest.next((frame) => datagramsOf([{ kind: 'frame', frame }])[0]);
    assert.deepEqual(
      [back.source, back.destination, back.destinationPort, back.data.length],
      [gatewayAddress, guestAddress, 5, 4],
    );
    await guest.network.close();
    server.close();
  });
});

describe('peers by the stream framing', () => {
  it('takes frames apart wherever the stream is cut', () => {
    const frames = [20, 1514, 60, 65_000, 14].map((length) =>
      Uint8Array.from({ length }, (_, n) => n * length),
    );
    const stream = Buffer.concat(
      frames.flatMap((frame) => [Uint8Array.of(0, 0, frame.length >> 8, frame.length & 255), frame]),
    );
    for (const size of [1, 2, 3, 5, 7, 1000, 4096, stream.length]) {
      const seen: Uint8Array[] = [];
      const splitter = new FrameSplitter();
      for (let at = 0; at < stream.length; at += size)
        splitter.push(stream.subarray(at, at + size), (frame) => seen.push(frame));
      assert.deepEqual(seen, frames, `pieces of ${size.toString()}`);
    }
  });

  it('ends with a peer that announces nonsense', () => {
    assert.throws(() => {
      new FrameSplitter().push(Uint8Array.of(255, 255, 255, 255), () => undefined);
    }, /a frame of 4294967295 bytes/);
  });

  it('gives the plug of VDE units of even length, as it forgets a byte of a length that it reads in halves', async () => {
    const writer = new PassThrough();
    const peer = new StreamPeer(
      { reader: new PassThrough(), writer, destroy: () => writer.destroy() },
      { toGuest: () => undefined, ended: () => undefined, frameBytes: 1514 },
      vdeFraming,
    );
    peer.send([60, 61, 1513, 1514].map((length) => new Uint8Array(length).fill(length)));
    const sent: Uint8Array[] = [];
    new FrameSplitter(vdeFraming).push(writer.read() as Uint8Array, (frame) => sent.push(frame));
    assert.deepEqual(
      sent.map(({ length }) => length),
      [60, 62, 1514, 1514],
    );
    assert.deepEqual([...sent[1]!.subarray(59)], [61, 61, 0]);
    await peer.close();
  });

  it('says which program it would need, and what the plug says', async () => {
    const options = { toGuest: () => undefined, ended: () => undefined, frameBytes: 1514 };
    const { PATH } = process.env;
    process.env.PATH = '/nowhere';
    await assert.rejects(plugInto('/nowhere', options), /there is no vde_plug: install it/).finally(() => {
      process.env.PATH = PATH;
    });
    if (spawnSync('vde_plug', ['--help']).error !== undefined) return;
    // On a slow host it is said later, by `ended`.
    const why = await new Promise((resolve) => {
      plugInto('/nowhere/at/all', { ...options, ended: resolve }).catch((error: unknown) => {
        resolve((error as Error).message);
      });
    });
    assert.match(String(why), /No such file/);
  });

  it('speaks with a peer over a socket', async () => {
    const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const frame = Uint8Array.from({ length: 100 }, (_, n) => n);
    const arrived = Promise.withResolvers<Uint8Array>();
    const peer = await StreamPeer.connect(
      { host: '127.0.0.1', port },
      { toGuest: arrived.resolve, ended: () => undefined, frameBytes: 1514 },
    );
    peer.send([frame]);
    assert.deepEqual(await arrived.promise, frame);
    await peer.close();
    server.close();
    await assert.rejects(
      StreamPeer.connect(
        { path: '/nowhere/at/all' },
        { toGuest: () => undefined, ended: () => undefined, frameBytes: 1514 },
      ),
      /ENOENT/,
    );
  });
});
