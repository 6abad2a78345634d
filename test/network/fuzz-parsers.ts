/**
 * Everything that reads bytes of others, without what stands behind it: headers and messages (wire/), the cutting of segments and what a
 * switch notes of connections (switch/), guards, and streams of framed frames (host-node/). Nothing may throw but the one error that a
 * stream may; what is read lies within the frame; what comes out is sound.
 */
import assert from 'node:assert/strict';
import { vdeFraming } from '../../packages/network/src/host-node/plug-peer.ts';
import {
  FrameSplitter,
  StreamPeerError,
  type Framing,
} from '../../packages/network/src/host-node/stream-peer.ts';
import {
  rollBackConnections,
  track,
  type Connections,
} from '../../packages/network/src/switch/connections.ts';
import { splitFrame } from '../../packages/network/src/switch/split.ts';
import { forward, newSwitch, type SwitchState } from '../../packages/network/src/switch/switch.ts';
import { assertSound, guestAddress, guestMac } from '../../packages/network/src/testing/guest.ts';
import { readArp } from '../../packages/network/src/wire/arp.ts';
import { get32, set16, set32 } from '../../packages/network/src/wire/bytes.ts';
import { readDhcp } from '../../packages/network/src/wire/dhcp.ts';
import {
  age,
  cacheKeyOf,
  failure,
  isQuery,
  questionEnd,
  sameQuestion,
  secondsToKeep,
} from '../../packages/network/src/wire/dns.ts';
import { EtherType, readEthernet } from '../../packages/network/src/wire/ethernet.ts';
import { readIcmp } from '../../packages/network/src/wire/icmp.ts';
import { Protocol, readIpv4 } from '../../packages/network/src/wire/ipv4.ts';
import { readTcp } from '../../packages/network/src/wire/tcp.ts';
import { readUdp } from '../../packages/network/src/wire/udp.ts';
import type { Random } from '../../packages/simulation/src/random.ts';

const framings: readonly Framing[] = [
  { lengthBytes: 4, maxFrameBytes: 4096 + 65_536, even: false },
  vdeFraming,
];
const maxConnections = 4096;
/** Frames of a stream, before it is cut into random pieces. */
const streamFrames = 20;

export class Parsers {
  readonly #random: Random;
  readonly #frame: () => Uint8Array;
  readonly #connections: Connections = new Map();
  readonly #switch: SwitchState = newSwitch();
  #stream: Uint8Array[] = [];

  /** @param frame makes a frame, well-formed or not */
  constructor(random: Random, frame: () => Uint8Array) {
    this.#random = random;
    this.#frame = frame;
    const guard = { mac: guestMac, addresses: [guestAddress] };
    this.#switch.ports.set(1, { link: false, frameBytes: 1514, hearsAll: true, guard });
    this.#switch.ports.set(2, { link: false, frameBytes: random.pick([200, 1514, 65_549]), hearsAll: true });
  }

  step(): void {
    const frame = this.#frame();
    this.#read(frame);
    this.#split(frame);
    this.#guard(frame);
    this.#follow(frame);
    this.#stream.push(frame);
    if (this.#stream.length < streamFrames) return;
    this.#cut(this.#stream);
    this.#stream = [];
  }

  #read(frame: Uint8Array): void {
    const within = (bytes: Uint8Array): void => {
      const from = bytes.byteOffset - frame.byteOffset;
      assert.ok(
        bytes.buffer !== frame.buffer ||
          bytes.length === 0 ||
          (from >= 0 && from + bytes.length <= frame.length),
        'bytes behind the frame were read',
      );
    };
    if (readEthernet(frame)?.type === EtherType.arp) readArp(frame);
    const header = readIpv4(frame);
    if (header === undefined) return;
    assert.ok(header.payloadFrom <= header.payloadTo && header.payloadTo <= frame.length);
    const tcp = header.protocol === Protocol.tcp ? readTcp(frame, header) : undefined;
    if (tcp !== undefined) within(tcp.payload);
    if (header.protocol === Protocol.icmp) readIcmp(frame, header);
    const udp = header.protocol === Protocol.udp ? readUdp(frame, header) : undefined;
    if (udp === undefined) return;
    within(udp.data);
    readDhcp(udp.data);
    this.#readDns(udp.data);
  }

  #readDns(data: Uint8Array): void {
    isQuery(data);
    const end = questionEnd(data);
    if (end === undefined) return;
    assert.ok(end <= data.length);
    cacheKeyOf(data, end);
    assert.ok(sameQuestion(data, data, end));
    const seconds = secondsToKeep(data, end);
    assert.ok(seconds >= 0);
    const older = data.slice();
    age(older, end, this.#random.integer(0, 1000));
    assert.equal(older.length, data.length);
    assert.ok(failure(data, end).length >= end);
  }

  /** A frame that is right comes out in right parts, whose bytes are its own. */
  #split(frame: Uint8Array): void {
    if (frame.length < 14) return;
    const room = this.#random.pick([60, 100, 200, 1514]);
    const parts = splitFrame(frame, room);
    const header = readIpv4(frame);
    const whole = header && header.protocol === Protocol.tcp ? readTcp(frame, header) : undefined;
    let bytes = 0;
    for (const part of parts) {
      assert.ok(part.length <= room, 'a part is larger than its port takes');
      assertSound(part);
      const cut = readIpv4(part)!;
      bytes += readTcp(part, cut)!.payload.length;
    }
    if (parts.length > 0 && whole !== undefined) assert.equal(bytes, whole.payload.length);
  }

  #guard(frame: Uint8Array): void {
    for (const { port, frame: passed } of forward(this.#switch, 1, frame, 0)) {
      assert.equal(port, 2);
      assert.equal(readEthernet(passed)!.source, guestMac, "a frame with another's MAC passed the guard");
      if (readEthernet(passed)!.type !== EtherType.ipv4) continue;
      const source = get32(passed, 26);
      assert.ok(source === guestAddress || source === 0, "a packet with another's address passed the guard");
    }
  }

  #follow(frame: Uint8Array): void {
    const random = this.#random;
    track(this.#connections, frame, random.integer(0, 1000));
    assert.ok(this.#connections.size <= maxConnections);
    if (!random.chance(0.001)) return;
    const { frames } = rollBackConnections(this.#connections, guestAddress, random.integer(0, 1000));
    for (const reset of frames) assertSound(reset);
  }

  /** A stream that is cut anywhere gives the frames that went in; one that was changed gives frames of some kind, or is refused. */
  #cut(frames: readonly Uint8Array[]): void {
    const random = this.#random;
    const framing = random.pick(framings);
    const { lengthBytes, maxFrameBytes } = framing;
    const sent = frames.filter(({ length }) => length >= 14 && length <= maxFrameBytes);
    const stream = new Uint8Array(sent.reduce((sum, { length }) => sum + lengthBytes + length, 0));
    let at = 0;
    for (const frame of sent) {
      if (lengthBytes === 4) set32(stream, at, frame.length);
      else set16(stream, at, frame.length);
      stream.set(frame, at + lengthBytes);
      at += lengthBytes + frame.length;
    }
    const isChanged = stream.length > 0 && random.chance(0.3);
    if (isChanged) stream[random.integer(0, stream.length - 1)] = random.integer(0, 255);
    const heard: Uint8Array[] = [];
    const splitter = new FrameSplitter(framing);
    try {
      for (let from = 0; from < stream.length;) {
        const to = Math.min(from + random.pick([1, 2, 3, 100, 1500, 9000]), stream.length);
        splitter.push(stream.subarray(from, to), (frame) => heard.push(frame));
        from = to;
      }
    } catch (error) {
      if (!(error instanceof StreamPeerError) || !isChanged) throw error;
    }
    for (const { length } of heard) assert.ok(length >= 14 && length <= maxFrameBytes);
    if (isChanged) return;
    assert.equal(heard.length, sent.length);
    heard.forEach((frame, n) => assert.ok(Buffer.from(frame).equals(sent[n]!), 'a frame was changed'));
  }
}
