/** The switch: what it learns, sends, guards and forgets. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertSound, guestAddress, guestMac, tcpGuestFrame } from '../testing/guest.ts';
import { broadcastMac } from '../wire/address.ts';
import { ArpOperation, buildArp } from '../wire/arp.ts';
import { writeEthernet } from '../wire/ethernet.ts';
import { readIpv4 } from '../wire/ipv4.ts';
import { readTcp, TcpFlag } from '../wire/tcp.ts';
import { forward, newSwitch, own, removePort, type SwitchPort, type SwitchState } from './switch.ts';

const [a, b, c] = [0x020000000001, 0x020000000002, 0x020000000003];

function frame(source: number, destination: number, length = 60): Uint8Array {
  const bytes = new Uint8Array(length);
  writeEthernet(bytes, { source, destination, type: 0x88b5 });
  return bytes;
}

function withPorts(count: number, port: Partial<SwitchPort> = {}): SwitchState {
  const state = newSwitch();
  for (let n = 1; n <= count; n++)
    state.ports.set(n, { link: false, frameBytes: 1514, hearsAll: true, ...port });
  return state;
}

const reached = (state: SwitchState, from: number, bytes: Uint8Array, nowMs = 0): number[] =>
  forward(state, from, bytes, nowMs).map(({ port }) => port);

describe('the switch', () => {
  it('floods what it does not know, and learns', () => {
    const state = withPorts(3);
    assert.deepEqual(reached(state, 1, frame(a, b)), [2, 3]);
    assert.deepEqual(reached(state, 2, frame(b, a)), [1]);
    assert.deepEqual(reached(state, 1, frame(a, b)), [2]);
    assert.deepEqual(reached(state, 1, frame(a, broadcastMac)), [2, 3]);
    assert.deepEqual(reached(state, 2, frame(b, a), 400_000), [1, 3], 'what was heard long ago is forgotten');
    assert.deepEqual(reached(state, 1, frame(a, a)), []);
  });

  it('sends to the new place at once when a newer owner is told, and never back', () => {
    const state = withPorts(3);
    assert.equal(own(state, b, { port: 2, epoch: 5 }), true);
    assert.deepEqual(reached(state, 1, frame(a, b)), [2]);
    assert.equal(own(state, b, { port: 3, epoch: 6 }), true);
    assert.equal(own(state, b, { port: 2, epoch: 5 }), false);
    reached(state, 2, frame(b, a));
    assert.deepEqual(reached(state, 1, frame(a, b)), [3]);
    removePort(state, 3);
    assert.deepEqual(reached(state, 1, frame(a, b)), [2]);
  });

  it('sends nothing from link to link', () => {
    const state = withPorts(3, { link: true });
    state.ports.set(4, { link: false, frameBytes: 1514, hearsAll: true });
    assert.deepEqual(reached(state, 1, frame(a, broadcastMac)), [4]);
    reached(state, 2, frame(b, broadcastMac));
    assert.deepEqual(reached(state, 1, frame(a, b)), []);
  });

  it('keeps what is for everybody on another node from a port that is there for its own', () => {
    const state = withPorts(2);
    state.ports.set(3, { link: true, frameBytes: 1514, hearsAll: true });
    state.ports.get(1)!.near = true;
    assert.deepEqual(reached(state, 2, frame(a, broadcastMac)), [1, 3]);
    assert.deepEqual(reached(state, 3, frame(b, broadcastMac)), [2]);
    own(state, c, { port: 1, epoch: 0 });
    assert.deepEqual(reached(state, 3, frame(b, c)), [1], 'what is for it alone comes from anywhere');
  });

  it('drops what a guarded port may not send', () => {
    const state = withPorts(2);
    state.ports.get(1)!.guard = { mac: guestMac, addresses: [guestAddress] };
    const syn = tcpGuestFrame(1, { flags: TcpFlag.syn });
    assert.equal(reached(state, 1, syn).length, 1);
    const arp = (senderMac: number, senderAddress: number): Uint8Array =>
      buildArp(
        { operation: ArpOperation.reply, senderMac, senderAddress, targetMac: 0, targetAddress: 1 },
        { destination: broadcastMac },
      );
    assert.equal(reached(state, 1, arp(guestMac, guestAddress)).length, 1);
    const forged = tcpGuestFrame(1, {});
    forged[29] = 99;
    const tagged = frame(guestMac, broadcastMac);
    tagged.set([0x81, 0], 12);
    const ipv6 = frame(guestMac, broadcastMac);
    ipv6.set([0x86, 0xdd], 12);
    for (const bad of [
      frame(a, b),
      arp(guestMac, guestAddress + 1),
      arp(a, guestAddress),
      forged,
      tagged,
      ipv6,
    ])
      assert.deepEqual(reached(state, 1, bad), []);
    assert.equal(state.dropped.guarded, 6);
  });

  it('keeps a bounded number of places', () => {
    const state = withPorts(2);
    for (let n = 0; n < 10_000; n++) reached(state, 1, frame(0x020000000000 + n, broadcastMac));
    assert.equal(state.learnt.size, 4096);
    assert.deepEqual(reached(state, 1, frame(0x010000000000, c)), [], 'a group sends nothing');
  });

  it('cuts a large TCP segment for a port that takes small frames', () => {
    const state = withPorts(2);
    const payload = Uint8Array.from({ length: 10_000 }, (_, n) => n * 7);
    const large = tcpGuestFrame(1, {
      flags: TcpFlag.ack | TcpFlag.psh | TcpFlag.fin,
      sequence: 0xffff_ff00,
      payload,
    });
    const parts = forward(state, 1, large, 0).map((delivery) => delivery.frame);
    assert.equal(parts.length, 7);
    let at = 0;
    for (const [n, part] of parts.entries()) {
      assertSound(part);
      assert.ok(part.length <= 1514);
      const segment = readTcp(part, readIpv4(part)!)!;
      assert.equal(segment.sequence, (0xffff_ff00 + at) >>> 0);
      assert.deepEqual(segment.payload, payload.subarray(at, at + segment.payload.length));
      assert.equal((segment.flags & TcpFlag.fin) !== 0, n === 6);
      at += segment.payload.length;
    }
    assert.equal(at, payload.length);
    assert.deepEqual(forward(state, 1, frame(a, b, 2000), 0), []);
    assert.equal(state.dropped.tooLarge, 1);
  });
});
