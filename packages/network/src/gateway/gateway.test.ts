/** The gateway, as a guest sees it: ARP, DHCP, ICMP, UDP, DNS and TCP. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  arpFrame,
  Bench,
  datagramsOf,
  framesOf,
  gatewayAddress,
  guestAddress,
  guestMac,
  ipFrame,
  nameServer,
  segmentsOf,
  udpFrame,
} from '../testing/guest.ts';
import { formatAddress, parseAddress } from '../wire/address.ts';
import { ArpOperation, readArp } from '../wire/arp.ts';
import { get16, get32, set16, set32 } from '../wire/bytes.ts';
import { DhcpOption, DhcpType } from '../wire/dhcp.ts';
import { buildIcmp, IcmpType, readIcmp } from '../wire/icmp.ts';
import { Protocol, readIpv4, writeIpv4, transportOffset } from '../wire/ipv4.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { halfSipHash } from './initial-sequence.ts';
import { rollBack } from './roll-back.ts';
import { loseSockets, restoreGateway, saveGateway } from './save.ts';
import { defaultGatewaySettings, whySettingsAreWrong } from './settings.ts';

const outside = parseAddress('192.0.2.7')!;
const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

function dhcp(
  type: number,
  fields: { requested?: number; client?: number; mac?: number; server?: number } = {},
): Uint8Array {
  const data = new Uint8Array(300);
  data.set([1, 1, 6, 0, 1, 2, 3, 4]);
  set32(data, 12, fields.client ?? 0);
  set16(data, 28, Math.floor((fields.mac ?? guestMac) / 0x1_0000_0000));
  set32(data, 30, (fields.mac ?? guestMac) % 0x1_0000_0000);
  set32(data, 236, 0x63825363);
  const options = [DhcpOption.type, 1, type];
  const address = (option: number, value: number | undefined): void => {
    if (value === undefined) return;
    const word = new Uint8Array(4);
    set32(word, 0, value);
    options.push(option, 4, ...word);
  };
  address(DhcpOption.requestedAddress, fields.requested);
  address(DhcpOption.server, fields.server);
  data.set([...options, DhcpOption.end], 240);
  return udpFrame(0xffff_ffff, { sourcePort: 68, destinationPort: 67, data }, 0);
}

function dhcpAnswer(bench: Bench, frame: Uint8Array): { type: number; yours: string } | undefined {
  const [datagram] = datagramsOf(bench.send(frame));
  return datagram && { type: datagram.data[242]!, yours: formatAddress(get32(datagram.data, 16)) };
}

describe('ARP, DHCP and ICMP of the gateway', () => {
  it('answers for its own two addresses only', () => {
    const bench = new Bench();
    for (const address of [gatewayAddress, nameServer]) {
      const [frame] = framesOf(bench.send(arpFrame(ArpOperation.request, address)));
      assert.deepEqual(readArp(frame!), {
        operation: ArpOperation.reply,
        senderMac: bench.settings.mac,
        senderAddress: address,
        targetMac: guestMac,
        targetAddress: guestAddress,
      });
    }
    assert.deepEqual(bench.send(arpFrame(ArpOperation.request, gatewayAddress + 5)), []);
  });

  it('gives addresses from .15 on, one for each MAC, and the same again', () => {
    const bench = new Bench();
    assert.deepEqual(dhcpAnswer(bench, dhcp(DhcpType.discover)), {
      type: DhcpType.offer,
      yours: '10.0.2.15',
    });
    assert.deepEqual(
      dhcpAnswer(bench, dhcp(DhcpType.request, { requested: guestAddress, server: gatewayAddress })),
      { type: DhcpType.ack, yours: '10.0.2.15' },
    );
    assert.deepEqual(dhcpAnswer(bench, dhcp(DhcpType.discover, { mac: 0x020000000001 }))?.yours, '10.0.2.16');
    assert.deepEqual(dhcpAnswer(bench, dhcp(DhcpType.discover))?.yours, '10.0.2.15');
    assert.deepEqual(
      dhcpAnswer(bench, dhcp(DhcpType.request, { requested: guestAddress, mac: 0x020000000009 }))?.type,
      DhcpType.nak,
    );
  });

  it('keeps reserved addresses for whom they are', () => {
    const bench = new Bench({ reservations: [{ mac: guestMac, address: guestAddress + 5 }] });
    assert.equal(dhcpAnswer(bench, dhcp(DhcpType.discover, { mac: 1 }))?.yours, '10.0.2.15');
    assert.equal(dhcpAnswer(bench, dhcp(DhcpType.discover))?.yours, '10.0.2.20');
    assert.equal(
      dhcpAnswer(bench, dhcp(DhcpType.request, { mac: 2, requested: guestAddress + 5 }))?.type,
      DhcpType.nak,
    );
  });

  it('echoes to itself, refuses to ask the world, and says when a packet has gone too far', () => {
    const bench = new Bench();
    bench.announce();
    const echo = buildIcmp({ type: IcmpType.echo, code: 0, rest: bytes('....hello') });
    const answers = (destination: number, change?: (frame: Uint8Array) => void): number[][] =>
      framesOf(bench.send(changed(ipFrame(destination, Protocol.icmp, echo), change))).map((frame) => {
        const message = readIcmp(frame, readIpv4(frame)!)!;
        return [message.type, message.code];
      });
    assert.deepEqual(answers(gatewayAddress), [[IcmpType.echoReply, 0]]);
    assert.deepEqual(answers(outside), [[IcmpType.unreachable, 13]]);
    const short = (frame: Uint8Array): void => {
      frame[22] = 1;
      set16(frame, 24, 0);
      set16(
        frame,
        24,
        ~[...Array(10).keys()].reduce((sum, n) => (sum + get16(frame, 14 + 2 * n)) % 0xffff, 0) & 0xffff,
      );
    };
    assert.deepEqual(answers(outside, short), [[IcmpType.timeExceeded, 0]]);
  });
});

function changed(frame: Uint8Array, change?: (frame: Uint8Array) => void): Uint8Array {
  change?.(frame);
  return frame;
}

describe('UDP and DNS of the gateway', () => {
  it('keeps one flow for a port, and lets only those answer that were asked', () => {
    const bench = new Bench();
    const [sent] = bench.udp(outside, { sourcePort: 5000, destinationPort: 99, data: bytes('ask') });
    assert.deepEqual(
      { ...sent, data: 0 },
      { kind: 'udpSend', flow: 2, target: { kind: 'address', address: outside, port: 99 }, data: 0 },
    );
    const received = (address: number, port: number): string[] =>
      datagramsOf(bench.happen({ kind: 'udpReceived', flow: 2, address, port, data: bytes('answer') })).map(
        ({ data }) => text(data),
      );
    assert.deepEqual(received(outside, 99), ['answer']);
    assert.deepEqual(received(outside, 98), []);
    assert.deepEqual(received(outside + 1, 99), []);
    assert.deepEqual(bench.wait(121_000), [{ kind: 'udpClose', flow: 2 }]);
    assert.equal(bench.state.udp.size, 0);
  });

  it('has a bounded number of flows: the one used longest ago goes', () => {
    const bench = new Bench();
    for (let port = 1; port <= 600; port++)
      bench.udp(outside, { sourcePort: port, destinationPort: 9, data: bytes('x') });
    assert.equal(bench.state.udp.size, 512);
    assert.equal(bench.effects.filter(({ kind }) => kind === 'udpClose').length, 88);
  });

  for (const address of [
    '127.0.0.1',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '240.0.0.1',
    '10.0.2.2',
    '10.0.2.77',
  ])
    it(`lets nothing out to ${address}`, () => {
      const bench = new Bench();
      bench.announce();
      const effects = [
        ...bench.udp(parseAddress(address)!, { sourcePort: 5000, destinationPort: 22, data: bytes('x') }),
        ...bench.tcp(parseAddress(address)!, { flags: TcpFlag.syn, destinationPort: 22 }),
      ];
      assert.deepEqual(
        effects.filter(({ kind }) => kind !== 'frame'),
        [],
      );
    });

  it('carries datagrams that are larger than a frame, in fragments, both ways', () => {
    const bench = new Bench();
    bench.announce();
    const data = Uint8Array.from({ length: 4000 }, (_, n) => n);
    const whole = udpFrame(outside, { sourcePort: 1, destinationPort: 2, data });
    const payload = whole.subarray(transportOffset);
    const fragments = [0, 1480, 2960].map((from) => {
      const part = payload.subarray(from, Math.min(from + 1480, payload.length));
      const frame = ipFrame(outside, Protocol.udp, part);
      const more = from + part.length < payload.length;
      writeIpv4(frame, {
        source: guestAddress,
        destination: outside,
        protocol: Protocol.udp,
        payloadBytes: part.length,
        identification: 9,
        fragmentOffset: from,
        moreFragments: more,
      });
      return frame;
    });
    const [sent] = bench.send(fragments[2]!, fragments[0]!, fragments[1]!);
    assert.deepEqual(sent?.kind === 'udpSend' && sent.data, data);
    const back = framesOf(bench.happen({ kind: 'udpReceived', flow: 2, address: outside, port: 2, data }));
    assert.deepEqual(
      back.map((frame) => frame.length),
      [1514, 1514, 14 + 20 + 4008 - 2960],
    );
    assert.deepEqual(
      bench.send(fragments[0]!, fragments[0]!, fragments[1]!, fragments[2]!),
      [],
      'overlap condemns',
    );
  });

  const query = (id: number, name: string): Uint8Array =>
    Uint8Array.from([0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.length, ...bytes(name), 0, 0, 1, 0, 1]);
  const dnsAnswer = (asked: Uint8Array, seconds: number): Uint8Array =>
    Uint8Array.from([
      0xab,
      0xcd,
      0x81,
      0x80,
      0,
      1,
      0,
      1,
      0,
      0,
      0,
      0,
      ...asked.subarray(12),
      0xc0,
      12,
      0,
      1,
      0,
      1,
      0,
      0,
      0,
      seconds,
      0,
      4,
      192,
      0,
      2,
      1,
    ]);

  it('forwards questions, keeps answers as long as they allow, and ages them', () => {
    const bench = new Bench();
    const ask = (id: number, name: string): ReturnType<Bench['udp']> =>
      bench.udp(nameServer, { sourcePort: 40_000 + id, destinationPort: 53, data: query(id, name) });
    const [asked] = ask(1, 'Name');
    assert.equal(asked?.kind, 'dnsQuery');
    bench.announce();
    const [first] = datagramsOf(
      bench.happen({ kind: 'dnsAnswered', query: 2, data: Buffer.from(dnsAnswer(query(1, 'nAME'), 60)) }),
    );
    assert.equal(get16(first!.data, 0), 1);
    assert.equal(text(first!.data.subarray(13, 17)), 'Name', 'the question comes back letter by letter');
    bench.nowMs += 10_000;
    const [second] = datagramsOf(ask(2, 'name'));
    assert.equal(get32(second!.data, second!.data.length - 10), 50);
    bench.nowMs += 10_000;
    const [third] = datagramsOf(ask(4, 'name'));
    assert.equal(get32(third!.data, third!.data.length - 10), 40);
    bench.nowMs += 40_000;
    assert.equal(ask(3, 'name')[0]?.kind, 'dnsQuery');
    const [failed] = datagramsOf(bench.wait(10_000));
    assert.equal(get16(failed!.data, 2) & 0xf, 2, 'SERVFAIL when nobody answers');
  });

  it('takes no answer to another question', () => {
    const bench = new Bench();
    bench.announce();
    bench.udp(nameServer, { sourcePort: 40_000, destinationPort: 53, data: query(1, 'good') });
    const [answer] = datagramsOf(
      bench.happen({ kind: 'dnsAnswered', query: 2, data: dnsAnswer(query(1, 'evil'), 60) }),
    );
    assert.equal(get16(answer!.data, 2) & 0xf, 2);
    assert.equal(bench.state.dnsCache.size, 0);
  });

  it('brings datagrams in by a forward, and takes the answers back', () => {
    const forward = { protocol: 'udp', hostAddress: '127.0.0.1', hostPort: 5353, guestPort: 53 } as const;
    const bench = new Bench({ forwards: [forward] });
    bench.announce();
    const visitor = {
      kind: 'udpArrived',
      forward: 0,
      address: 0x7f00_0001,
      port: 777,
      data: bytes('in'),
    } as const;
    const [arrived] = datagramsOf(bench.happen(visitor));
    assert.deepEqual(
      [arrived?.source, arrived?.destination, arrived?.destinationPort],
      [gatewayAddress, guestAddress, 53],
    );
    const back = bench.udp(gatewayAddress, {
      sourcePort: 53,
      destinationPort: arrived!.sourcePort,
      data: bytes('out'),
    });
    assert.deepEqual(
      { ...back[0], data: 0 },
      { kind: 'udpReply', forward: 0, address: 0x7f00_0001, port: 777, data: 0 },
    );
  });
});

describe('TCP through the gateway', () => {
  /** A connection of the guest's to the world; returns the numbers that both sides are at. */
  function connect(bench: Bench): { sequence: number; acknowledgment: number } {
    bench.announce();
    const [wanted] = bench.tcp(outside, { flags: TcpFlag.syn, sequence: 100, maximumSegment: 1460 });
    assert.deepEqual(wanted, {
      kind: 'tcpConnect',
      socket: 2,
      target: { kind: 'address', address: outside, port: 80 },
    });
    const [answer] = segmentsOf(bench.happen({ kind: 'tcpConnected', socket: 2 }));
    assert.equal(answer!.flags, TcpFlag.syn | TcpFlag.ack);
    const at = { sequence: 101, acknowledgment: (answer!.sequence + 1) >>> 0 };
    bench.tcp(outside, { ...at, flags: TcpFlag.ack });
    return at;
  }

  it('carries bytes both ways, and ends when both sides have', () => {
    const bench = new Bench();
    const at = connect(bench);
    const effects = bench.tcp(outside, { ...at, flags: TcpFlag.ack, payload: bytes('GET') });
    assert.deepEqual(
      effects.flatMap((effect) => (effect.kind === 'tcpWrite' ? [text(effect.data)] : [])),
      ['GET'],
    );
    at.sequence += 3;
    const [page] = segmentsOf(bench.happen({ kind: 'tcpReceived', socket: 2, data: bytes('a page') }));
    assert.deepEqual([text(page!.payload), page!.acknowledgment], ['a page', 104]);
    const [fin] = segmentsOf(bench.happen({ kind: 'tcpEnded', socket: 2 }));
    assert.ok(fin!.flags & TcpFlag.fin);
    at.acknowledgment += 7;
    const end = bench.tcp(outside, { ...at, flags: TcpFlag.ack | TcpFlag.fin });
    assert.deepEqual(
      end.map(({ kind }) => kind),
      ['tcpEnd', 'tcpRelease', 'frame'],
    );
    bench.wait(60_000);
    assert.equal(bench.state.tcp.size + bench.state.tcpBySocket.size, 0);
  });

  it('tells the guest of a refusal, and of a host that is not there', () => {
    const bench = new Bench();
    bench.announce();
    bench.tcp(outside, { flags: TcpFlag.syn, sequence: 7 });
    const [reset] = segmentsOf(bench.happen({ kind: 'tcpFailed', socket: 2, reason: 'refused' }));
    assert.deepEqual([reset!.flags, reset!.acknowledgment], [TcpFlag.rst | TcpFlag.ack, 8]);
    bench.tcp(outside, { flags: TcpFlag.syn, sequence: 7 });
    const [frame] = framesOf(bench.happen({ kind: 'tcpFailed', socket: 4, reason: 'unreachable' }));
    assert.equal(readIcmp(frame!, readIpv4(frame!)!)!.type, IcmpType.unreachable);
    assert.equal(bench.state.tcp.size, 0);
  });

  it('breaks both sides when one breaks', () => {
    const bench = new Bench();
    const at = connect(bench);
    assert.deepEqual(bench.tcp(outside, { ...at, flags: TcpFlag.rst }), [{ kind: 'tcpReset', socket: 2 }]);
    const again = new Bench();
    connect(again);
    const [reset] = segmentsOf(again.happen({ kind: 'tcpClosed', socket: 2 }));
    assert.ok(reset!.flags & TcpFlag.rst);
  });

  it('asks the host to pause before its buffer is full, and to go on', () => {
    const bench = new Bench();
    const at = connect(bench);
    const chunk = new Uint8Array(65_536);
    let paused = false;
    let chunks = 0;
    while (!paused && chunks < 100) {
      chunks++;
      paused = bench
        .happen({ kind: 'tcpReceived', socket: 2, data: chunk })
        .some((effect) => effect.kind === 'tcpFlow' && effect.paused);
    }
    assert.ok(chunks <= 9, `${chunks.toString()} chunks`);
    let resumed = false;
    for (let n = 0; n < 1000 && !resumed; n++) {
      const { sndMax } = bench.state.tcpBySocket.get(2)!.tcp!;
      resumed = bench
        .tcp(outside, { ...at, acknowledgment: sndMax, flags: TcpFlag.ack })
        .some((effect) => effect.kind === 'tcpFlow' && !effect.paused);
    }
    assert.equal(resumed, true);
  });

  it('brings connections in by a forward, once it knows where the guest is', () => {
    const forward = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 } as const;
    const bench = new Bench({ forwards: [forward] });
    const [question] = framesOf(bench.happen({ kind: 'tcpAccepted', socket: 1, forward: 0 }));
    assert.equal(readArp(question!)?.targetAddress, guestAddress);
    const [syn] = segmentsOf(bench.send(arpFrame(ArpOperation.reply, gatewayAddress)));
    assert.deepEqual([syn!.flags, syn!.destinationPort], [TcpFlag.syn, 80]);
    const ends = { sourcePort: 80, destinationPort: syn!.sourcePort };
    bench.tcp(gatewayAddress, {
      ...ends,
      flags: TcpFlag.syn | TcpFlag.ack,
      sequence: 500,
      acknowledgment: syn!.sequence + 1,
    });
    const [data] = segmentsOf(bench.happen({ kind: 'tcpReceived', socket: 1, data: bytes('hello') }));
    assert.equal(text(data!.payload), 'hello');
  });

  it('ends the connections that are ahead of a checkpoint, and leaves those that lost nothing', () => {
    const bench = new Bench();
    const at = connect(bench);
    const idle = { sourcePort: 2000, sequence: 500 };
    bench.tcp(outside, { ...idle, flags: TcpFlag.syn });
    const [answer] = segmentsOf(bench.happen({ kind: 'tcpConnected', socket: 4 }));
    bench.tcp(outside, { ...idle, sequence: 501, acknowledgment: answer!.sequence + 1, flags: TcpFlag.ack });
    const moment = { settings: bench.settings, state: bench.state, nowMs: bench.nowMs };
    assert.deepEqual(rollBack(moment, guestAddress, 100), { effects: [], ended: 0 });
    bench.sentAt = 150;
    bench.tcp(outside, { ...at, flags: TcpFlag.ack, payload: bytes('unseen by the checkpoint') });
    bench.tcp(outside, { sourcePort: 3000, sequence: 1, flags: TcpFlag.syn });
    bench.happen({ kind: 'tcpConnected', socket: 6 });
    assert.deepEqual(rollBack(moment, guestAddress + 1, 100).ended, 0, 'another guest goes on');
    const { effects, ended } = rollBack(moment, guestAddress, 100);
    assert.equal(ended, 2);
    assert.deepEqual(
      effects.flatMap((effect) => (effect.kind === 'tcpReset' ? [effect.socket] : [])),
      [2, 6],
    );
    assert.deepEqual(
      segmentsOf(effects).map(({ flags, destinationPort }) => [flags & TcpFlag.rst, destinationPort]),
      [
        [TcpFlag.rst, 1000],
        [TcpFlag.rst, 3000],
      ],
    );
    assert.deepEqual([...bench.state.tcpBySocket.keys()], [4]);
    const [still] = segmentsOf(bench.happen({ kind: 'tcpReceived', socket: 4, data: bytes('on') }));
    assert.equal(text(still!.payload), 'on');
    assert.deepEqual(segmentsOf(bench.happen({ kind: 'tick' })), []);
    const [again] = segmentsOf(rollBack(moment, guestAddress, 120).effects);
    assert.equal(text(again!.payload), 'on', 'what may have been lost with the node is sent again at once');
  });

  it('has a bounded number of connections, and refuses more', () => {
    const bench = new Bench();
    bench.announce();
    for (let port = 1; port <= 300; port++) bench.tcp(outside, { flags: TcpFlag.syn, sourcePort: port });
    assert.equal(bench.state.tcp.size, 256);
    assert.equal(segmentsOf(bench.effects).filter(({ flags }) => flags & TcpFlag.rst).length, 44);
  });

  it('goes on from a saved state as if nothing had been, and ends connections whose sockets are lost', () => {
    const bench = new Bench();
    const at = connect(bench);
    const saved = structuredClone(saveGateway(bench.state));
    const other = new Bench();
    other.nowMs = bench.nowMs;
    other.state = restoreGateway(saved);
    const event = { kind: 'tcpReceived', socket: 2, data: bytes('same') } as const;
    assert.deepEqual(other.happen(event), bench.happen(event));
    assert.deepEqual(saveGateway(other.state), saveGateway(bench.state));
    const effects = loseSockets(other.settings, other.state, other.nowMs);
    assert.ok(segmentsOf(effects)[0]!.flags & TcpFlag.rst);
    assert.equal(other.state.tcp.size, 0);
    assert.deepEqual(
      other.tcp(outside, { ...at, flags: TcpFlag.ack }).map(({ kind }) => kind),
      ['frame'],
    );
    assert.throws(() => restoreGateway({ ...saved, version: 99 }), /version 99/);
  });
});

describe('settings and numbers of the gateway', () => {
  it('says what is wrong with settings', () => {
    const good = defaultGatewaySettings();
    assert.equal(whySettingsAreWrong(good), undefined);
    assert.match(whySettingsAreWrong({ ...good, address: 1 })!, /0\.0\.0\.1 is not in 10\.0\.2\.0\/24/);
    const forward = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 } as const;
    assert.match(whySettingsAreWrong({ ...good, forwards: [forward, forward] })!, /8080 is published twice/);
  });

  it('hashes as HalfSipHash-2-4 does', () => {
    // The reference's 32-bit vectors of no bytes and of four: a9359f5b and 2a6e4689, with the key 00 to 07.
    const key = [0x03020100, 0x07060504];
    assert.equal(halfSipHash(key, []), 0x5b9f35a9);
    assert.equal(halfSipHash(key, [0x03020100]), 0x89466e2a);
  });
});
