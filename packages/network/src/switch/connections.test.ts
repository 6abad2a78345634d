/** Connections between two guests, of which one goes back to an earlier state. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertSound } from '../testing/guest.ts';
import { readMac } from '../wire/address.ts';
import { EtherType, writeEthernet } from '../wire/ethernet.ts';
import { Protocol, readIpv4, transportOffset, writeIpv4 } from '../wire/ipv4.ts';
import { readTcp, sealTcp, tcpFrame, TcpFlag, type TcpSegment } from '../wire/tcp.ts';
import { rollBackConnections, track, type Connections } from './connections.ts';

const guests = [
  { address: 0x0a000010, mac: 0x020000000010, port: 1000 },
  { address: 0x0a000011, mac: 0x020000000011, port: 80 },
] as const;

interface Sent {
  from: 0 | 1;
  sequence: number;
  acknowledgment: number;
  flags?: number;
  payloadBytes?: number;
  port?: number;
}

function segment({
  from,
  sequence,
  acknowledgment,
  flags = TcpFlag.ack,
  payloadBytes = 0,
  port,
}: Sent): Uint8Array {
  const [source, destination] = from === 0 ? guests : [guests[1], guests[0]];
  const ends = { source: source.address, destination: destination.address };
  const ports = {
    sourcePort: from === 0 ? (port ?? source.port) : source.port,
    destinationPort: from === 0 ? destination.port : (port ?? destination.port),
  };
  const { frame } = tcpFrame({
    ...ends,
    ...ports,
    sequence,
    acknowledgment,
    flags,
    window: 1000,
    payloadBytes,
  });
  sealTcp(frame, ends);
  writeIpv4(frame, { ...ends, protocol: Protocol.tcp, payloadBytes: frame.length - transportOffset });
  writeEthernet(frame, { source: source.mac, destination: destination.mac, type: EtherType.ipv4 });
  return frame;
}

/** A connection of guest 0 to guest 1, as of instruction 10 of both. */
function open(connections: Connections, port?: number): void {
  const more = port === undefined ? {} : { port };
  track(connections, segment({ from: 0, sequence: 99, acknowledgment: 0, flags: TcpFlag.syn, ...more }), 8);
  track(
    connections,
    segment({ from: 1, sequence: 499, acknowledgment: 100, flags: TcpFlag.syn | TcpFlag.ack, ...more }),
    9,
  );
  track(connections, segment({ from: 0, sequence: 100, acknowledgment: 500, ...more }), 10);
}

function resets(
  frames: readonly Uint8Array[],
): (Pick<TcpSegment, 'sequence' | 'destinationPort'> & { to: number })[] {
  return frames.map((frame) => {
    assertSound(frame);
    const { flags, sequence, destinationPort } = readTcp(frame, readIpv4(frame)!)!;
    assert.ok(flags & TcpFlag.rst);
    return { to: readMac(frame, 0), sequence, destinationPort };
  });
}

describe('connections between two guests', () => {
  it('end with a reset to both sides when one guest goes on from before what the other has seen', () => {
    const connections: Connections = new Map();
    open(connections);
    track(connections, segment({ from: 0, sequence: 100, acknowledgment: 500, payloadBytes: 7 }), 20);
    track(connections, segment({ from: 1, sequence: 500, acknowledgment: 107 }), 400);
    assert.deepEqual(rollBackConnections(connections, guests[0].address, 20), { frames: [], ended: 0 });
    const { frames, ended } = rollBackConnections(connections, guests[0].address, 19);
    assert.equal(ended, 1);
    assert.deepEqual(resets(frames), [
      { to: guests[1].mac, sequence: 107, destinationPort: 80 },
      { to: guests[0].mac, sequence: 500, destinationPort: 1000 },
    ]);
    assert.equal(connections.size, 0);
  });

  it('are judged by the count of the guest that goes back, not of its peer', () => {
    const connections: Connections = new Map();
    open(connections);
    track(connections, segment({ from: 1, sequence: 500, acknowledgment: 100, payloadBytes: 3 }), 900);
    assert.equal(rollBackConnections(connections, guests[0].address, 10).ended, 0);
    assert.equal(rollBackConnections(connections, guests[1].address, 899).ended, 1);
  });

  it('go on when a guest only repeated what it had said before', () => {
    const connections: Connections = new Map();
    open(connections);
    track(connections, segment({ from: 0, sequence: 100, acknowledgment: 500 }), 5000);
    assert.equal(rollBackConnections(connections, guests[0].address, 10).ended, 0);
  });

  it('are forgotten when they were reset, and bounded', () => {
    const connections: Connections = new Map();
    open(connections);
    track(connections, segment({ from: 1, sequence: 500, acknowledgment: 100, flags: TcpFlag.rst }), 11);
    assert.equal(connections.size, 0);
    for (let port = 1; port <= 5000; port++) open(connections, port);
    assert.equal(connections.size, 4096);
    track(connections, new Uint8Array(60), 1);
    track(connections, segment({ from: 0, sequence: 1, acknowledgment: 1, port: 5000 }).subarray(0, 40), 1);
    assert.equal(connections.size, 4096);
  });
});
