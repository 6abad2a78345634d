/** What comes from the host in bulk is kept in memory that is used again once the guest has acknowledged it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { it } from 'node:test';
import type { GatewayEvent } from '../gateway/events.ts';
import { FrameBuffers } from '../gateway/frame-buffers.ts';
import { handle } from '../gateway/gateway.ts';
import { Bench, segmentsOf, tcpGuestFrame } from '../testing/guest.ts';
import { maxFrameBytes } from '../wire/ethernet.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { HostSockets } from './host-sockets.ts';

const outside = 0xc000_0207;

/** Whether it lies in memory of `FrameBuffers`. */
const isKept = ({ buffer }: Uint8Array): boolean => buffer.byteLength === maxFrameBytes;

it('an array that a connection was given is used again when the guest has acknowledged all of it', () => {
  const bench = new Bench();
  const buffers = new FrameBuffers();
  const happen = (event: GatewayEvent): ReturnType<typeof handle> =>
    handle(bench.settings, bench.state, [event], bench.nowMs, buffers);
  bench.announce();
  bench.tcp(outside, { flags: TcpFlag.syn, sequence: 100, maximumSegment: 1460, window: 65_535 });
  const [answer] = segmentsOf(bench.happen({ kind: 'tcpConnected', socket: 2 }));
  const at = { sequence: 101, acknowledgment: (answer!.sequence + 1) >>> 0, window: 65_535 };
  bench.tcp(outside, { ...at, flags: TcpFlag.ack });
  const data = buffers.take(0x8000);
  happen({ kind: 'tcpReceived', socket: 2, data });
  const acknowledge = (bytes: number): void => {
    const acknowledgment = (at.acknowledgment + bytes) >>> 0;
    const frame = tcpGuestFrame(outside, { ...at, acknowledgment, flags: TcpFlag.ack });
    happen({ kind: 'frame', frame });
  };
  acknowledge(1460);
  assert.notEqual(buffers.take(0x8000).buffer, data.buffer, 'what is not acknowledged may be sent again');
  for (let bytes = 2920; bytes < 0x8000; bytes += 1460) acknowledge(bytes);
  acknowledge(0x8000);
  assert.equal(buffers.take(0x8000).buffer, data.buffer);
});

it('bulk that a socket brings comes in such memory, and as it was sent; a little does not', async () => {
  const sent = Buffer.from(Uint8Array.from({ length: 2_000_000 }, (_, n) => n * 7 + (n >> 8)));
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const heard: Uint8Array[] = [];
  const ended = Promise.withResolvers<undefined>();
  let bytes = 0;
  const sockets = new HostSockets((event) => {
    if (event.kind === 'tcpEnded') ended.resolve(undefined);
    if (event.kind !== 'tcpReceived') return;
    heard.push(event.data);
    bytes += event.data.length;
  }, new FrameBuffers());
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const { port } = server.address() as AddressInfo;
  sockets.perform({ kind: 'tcpConnect', socket: 2, target: { kind: 'loopback', port } });
  const [peer] = await accepted;
  // It is broken at the end.
  peer.on('error', () => undefined);
  peer.write(sent.subarray(0, 10));
  while (bytes < 10) await new Promise(setImmediate);
  assert.ok(!heard.some(isKept));
  peer.end(sent.subarray(10));
  await ended.promise;
  assert.ok(Buffer.concat(heard).equals(sent));
  assert.ok(heard.filter(isKept).length > 5, `${heard.filter(isKept).length.toString()} arrays`);
  await sockets.close();
  server.close();
});
