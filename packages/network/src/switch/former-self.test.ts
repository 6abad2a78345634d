/** The edge of a fork: which of its two names is seen by whom. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertSound } from '../testing/guest.ts';
import { ArpOperation, buildArp, readArp } from '../wire/arp.ts';
import { checksum, set16, set32, sum16 } from '../wire/bytes.ts';
import { readDhcp } from '../wire/dhcp.ts';
import { EtherType, readEthernet, writeEthernet } from '../wire/ethernet.ts';
import { buildIcmpError, IcmpType, Unreachable } from '../wire/icmp.ts';
import { Protocol, readIpv4, transportOffset, writeIpv4 } from '../wire/ipv4.ts';
import { sealTcp, tcpFrame, TcpFlag } from '../wire/tcp.ts';
import { buildUdp, readUdp } from '../wire/udp.ts';
import { inward, newFormerSelf, outward, type FormerSelf, type Name } from './former-self.ts';

const parent: Name = { mac: 0x5256_0a40_0100, address: 0x0a40_0100 };
const grandparent: Name = { mac: 0x5256_0a40_0107, address: 0x0a40_0107 };
const own: Name = { mac: 0x5256_0a40_0101, address: 0x0a40_0101 };
const peer: Name = { mac: 0x5256_0a40_0102, address: 0x0a40_0102 };
const broadcastMac = 0xffff_ffff_ffff;

function packet(from: Name, to: Name, protocol: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(transportOffset + payload.length);
  frame.set(payload, transportOffset);
  writeEthernet(frame, { destination: to.mac, source: from.mac, type: EtherType.ipv4 });
  const ends = { source: from.address, destination: to.address };
  writeIpv4(frame, { ...ends, protocol, payloadBytes: payload.length });
  return frame;
}

function tcp(from: Name, to: Name, bytes = 3): Uint8Array {
  const ends = { source: from.address, destination: to.address };
  const { frame } = tcpFrame({
    ...ends,
    sourcePort: 80,
    destinationPort: 40_000,
    sequence: 7,
    acknowledgment: 9,
    flags: TcpFlag.ack,
    window: 1000,
    payloadBytes: bytes,
  });
  sealTcp(frame, ends);
  writeEthernet(frame, { destination: to.mac, source: from.mac, type: EtherType.ipv4 });
  writeIpv4(frame, { ...ends, protocol: Protocol.tcp, payloadBytes: frame.length - transportOffset });
  return frame;
}

const udp = (from: Name, to: Name, data = Uint8Array.of(1, 2, 3)): Uint8Array =>
  packet(
    from,
    to,
    Protocol.udp,
    buildUdp({ sourcePort: 9, destinationPort: 10, data }, { source: from.address, destination: to.address }),
  );

function arp(operation: number, from: Name, to: Partial<Name>): Uint8Array {
  const { mac = 0, address = 0 } = to;
  const ends = { senderMac: from.mac, senderAddress: from.address, targetMac: mac, targetAddress: address };
  return buildArp({ operation, ...ends }, { destination: mac === 0 ? broadcastMac : mac });
}

/** Who a frame is from and to, by all that it says. */
function ends(frame: Uint8Array): { from: Name; to: Name } {
  assertSound(frame);
  const { source, destination } = readEthernet(frame)!;
  const header = readIpv4(frame)!;
  return {
    from: { mac: source, address: header.source },
    to: { mac: destination, address: header.destination },
  };
}

const forked = (former = [parent]): FormerSelf => newFormerSelf(own, former);

/** One that was heard under the name of its parent. */
function known(): FormerSelf {
  const self = forked();
  outward(self, tcp(parent, peer));
  return self;
}

describe('a fork that takes itself for its parent', () => {
  test('is heard under its own name, and hears under that of its parent, with right checksums', () => {
    const self = forked();
    for (const make of [tcp, udp]) {
      assert.deepEqual(ends(outward(self, make(parent, peer))!), { from: own, to: peer });
      assert.deepEqual(inward(self, make(peer, own)).map(ends), [{ from: peer, to: parent }]);
    }
    const large = tcp(parent, peer, 60_000);
    const before = Uint8Array.from(large);
    assert.deepEqual(ends(outward(self, large)!), { from: own, to: peer });
    assert.deepEqual(large, before, 'a frame is not changed in place: others may have it');
  });

  test('speaks with its parent, whom it sees under its own name', () => {
    const self = known();
    assert.deepEqual(inward(self, tcp(parent, own)).map(ends), [{ from: own, to: parent }]);
    assert.deepEqual(ends(outward(self, tcp(parent, own))!), { from: own, to: parent });
    // What its parent announces is no claim to the address that the fork takes for its own.
    const [heard] = inward(self, arp(ArpOperation.request, parent, { address: parent.address }));
    assert.equal(readArp(heard!)?.senderAddress, own.address);
  });

  test('is asked for by each of its names until it was heard, then by the one it goes by', () => {
    const self = forked([grandparent, parent]);
    const asked = (): unknown[] =>
      inward(self, arp(ArpOperation.request, peer, { address: own.address })).map(
        (each) => readArp(each)?.targetAddress,
      );
    assert.deepEqual(asked(), [own.address, grandparent.address, parent.address]);
    const answer = outward(self, arp(ArpOperation.reply, grandparent, peer));
    assert.deepEqual(readArp(answer!), {
      operation: ArpOperation.reply,
      senderMac: own.mac,
      senderAddress: own.address,
      targetMac: peer.mac,
      targetAddress: peer.address,
    });
    assert.deepEqual(asked(), [grandparent.address]);
    assert.deepEqual(inward(self, tcp(peer, own)).map(ends), [{ from: peer, to: grandparent }]);
  });

  test('announces itself under its own name', () => {
    const frame = outward(forked(), arp(ArpOperation.request, parent, { address: parent.address }));
    const { senderMac, senderAddress, targetAddress } = readArp(frame!)!;
    assert.deepEqual([senderMac, senderAddress, targetAddress], [own.mac, own.address, own.address]);
  });

  test('is told of an error about its packet under the name by which it sent it', () => {
    const sent = outward(known(), udp(parent, peer))!;
    const message = { type: IcmpType.unreachable, code: Unreachable.port };
    const error = packet(peer, own, Protocol.icmp, buildIcmpError(message, sent, readIpv4(sent)!));
    const [heard] = inward(known(), error);
    assert.deepEqual(ends(heard!), { from: peer, to: parent });
    const quoted = readIpv4(
      Uint8Array.of(...new Uint8Array(14), ...heard!.subarray(transportOffset + 8), ...new Uint8Array(64)),
    );
    assert.equal(quoted?.source, parent.address);
  });

  test('leaves later fragments and datagrams without checksum right', () => {
    const fragment = udp(parent, peer);
    writeIpv4(fragment, {
      source: parent.address,
      destination: peer.address,
      protocol: Protocol.udp,
      payloadBytes: fragment.length - transportOffset,
      fragmentOffset: 1480,
    });
    const sent = outward(forked(), fragment)!;
    assert.deepEqual(sent.subarray(transportOffset), fragment.subarray(transportOffset));
    assert.equal(readIpv4(sent)?.source, own.address);
    const unsummed = udp(parent, peer);
    set16(unsummed, transportOffset + 6, 0);
    assert.deepEqual(
      outward(forked(), unsummed)!.subarray(transportOffset),
      unsummed.subarray(transportOffset),
    );
  });
});

/** RFC 2131, 2: a question for an address, with the option that names the client by its MAC. */
function question(from: Name, source = 0): Uint8Array {
  const data = new Uint8Array(300);
  data.set([1, 1, 6]);
  set32(data, 12, source);
  data.set(frameMac(from.mac), 28);
  set32(data, 236, 0x63825363);
  data.set([53, 1, 3, 0, 61, 7, 1, ...frameMac(from.mac), 255], 240);
  const to = { mac: broadcastMac, address: 0xffff_ffff };
  const datagram = { sourcePort: 68, destinationPort: 67, data };
  const payload = buildUdp(datagram, { source, destination: to.address });
  return packet({ mac: from.mac, address: source }, to, Protocol.udp, payload);
}

function frameMac(mac: number): Uint8Array {
  const frame = new Uint8Array(14);
  writeEthernet(frame, { destination: 0, source: mac, type: 0 });
  return frame.subarray(6, 12);
}

describe('a lease', () => {
  test('is asked for under the own MAC and answered under the one that the guest knows', () => {
    const self = known();
    for (const source of [0, parent.address]) {
      const asked = outward(self, question(parent, source))!;
      assertSound(asked);
      const header = readIpv4(asked)!;
      const { data } = readUdp(asked, header)!;
      const message = readDhcp(data)!;
      assert.equal(message.mac, own.mac);
      assert.equal(message.client, source, 'what it asks to keep is said, and refused');
      assert.equal(header.source, source === 0 ? 0 : own.address);
      assert.deepEqual(data.subarray(247, 253), frameMac(own.mac));
    }
    const answer = new Uint8Array(300);
    answer.set([2, 1, 6]);
    set32(answer, 236, 0x63825363);
    answer.set([53, 1, 5, 255], 240);
    set32(answer, 16, own.address);
    answer.set(frameMac(own.mac), 28);
    const gateway = { mac: 0x5257_0a40_0004, address: 0x0a40_0002 };
    const datagram = { sourcePort: 67, destinationPort: 68, data: answer };
    const payload = buildUdp(datagram, { source: gateway.address, destination: own.address });
    const [heard] = inward(self, packet(gateway, own, Protocol.udp, payload));
    assert.deepEqual(ends(heard!), { from: gateway, to: { mac: parent.mac, address: own.address } });
    const { data } = readUdp(heard!, readIpv4(heard!)!)!;
    assert.deepEqual(data.subarray(28, 34), frameMac(parent.mac));
    assert.deepEqual(data.subarray(16, 20), answer.subarray(16, 20), 'the address that it is given');
    // It need not say a word afterwards: who knew its MAC before goes on.
    assert.deepEqual(inward(self, tcp(peer, own)).map(ends), [
      { from: peer, to: { mac: parent.mac, address: own.address } },
    ]);
  });

  test('once renewed ends the exchange of addresses for good, and a start afresh that of MACs', () => {
    const self = known();
    const renewed = { mac: parent.mac, address: own.address };
    assert.deepEqual(ends(outward(self, tcp(renewed, peer))!), { from: own, to: peer });
    assert.deepEqual(inward(self, tcp(peer, own)).map(ends), [{ from: peer, to: renewed }]);
    assert.equal(outward(self, tcp(parent, peer)), undefined, 'the old address is not its any more');
    // Now it may speak with its parent by that one's name.
    assert.deepEqual(
      ends(outward(self, tcp(renewed, { mac: own.mac, address: parent.address }))!).to,
      parent,
    );
    const afresh = tcp(own, peer);
    assert.equal(outward(self, afresh), afresh);
    const frame = tcp(peer, own);
    assert.equal(inward(self, frame)[0], frame);
    assert.equal(outward(self, tcp(renewed, peer)), undefined);
  });

  test('a frame of nonsense passes as it is', () => {
    for (const length of [0, 13, 14, 20, 34, 41]) {
      const frame = new Uint8Array(length).fill(8);
      assert.deepEqual(outward(forked(), frame), frame);
      assert.deepEqual(inward(forked(), frame), [frame]);
    }
    const short = tcp(parent, peer).subarray(0, 40);
    set16(short, 16, 26);
    set16(short, 24, 0);
    set16(short, 24, checksum(sum16(short, 14, 34)));
    assert.equal(outward(forked(), short)?.length, 40);
  });
});
