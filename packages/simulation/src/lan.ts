/**
 * The network around simulated guests: each guest sends TCP segments to a few peers outside, and the real notes of a switch
 * (network/src/switch/connections.ts) say which connections end when a guest goes on from an earlier moment. Looked at from outside: a
 * connection that goes on is one whose peer has heard nothing but what follows from the guest's state; one that lost nothing goes on.
 */
import { rollBackConnections, track, type Connections } from '../../network/src/switch/connections.ts';
import { EtherType, writeEthernet } from '../../network/src/wire/ethernet.ts';
import { Protocol, transportOffset, writeIpv4 } from '../../network/src/wire/ipv4.ts';
import { sealTcp, tcpFrame, TcpFlag } from '../../network/src/wire/tcp.ts';

const peersOfGuest = 3;
const guestAddress = 0x0a40_0100;
const peerAddress = 0x0a40_0001;
const guestMac = 0x5256_0a40_0100;
const peerMac = 0x5256_0a40_0001;
const payloadBytes = 4;
const guestPort = 80;
const firstPort = 40_000;

/** What peers have heard of a guest. */
interface Guest {
  /** The newest epoch that arrived: what its owners before still send is dropped. */
  epoch: number;
  readonly connections: Connections;
  /** By peer, over its connection of now: outputs by their numbers, and their digests. */
  readonly heard: Map<number, number>[];
}

interface Frame {
  number: number;
  digest: number;
  sentAt: number;
}

type Wrong = { rule: 'stalled' | 'ended-needlessly'; message: string };

export class Lan {
  readonly #guests = new Map<string, Guest>();
  /** Frames that peers heard, and connections that were ended behind a takeover. */
  frames = 0;
  ended = 0;

  #guest(vmId: string): Guest {
    const known = this.#guests.get(vmId);
    if (known !== undefined) return known;
    const heard = Array.from({ length: peersOfGuest }, () => new Map<number, number>());
    const guest: Guest = { epoch: 0, connections: new Map(), heard };
    this.#guests.set(vmId, guest);
    return guest;
  }

  /** A guest's frame left its node. */
  carry(vmId: string, epoch: number, { number, digest, sentAt }: Frame): void {
    const guest = this.#guest(vmId);
    if (epoch < guest.epoch) return;
    this.frames++;
    const peer = peerOf(digest);
    guest.heard[peer]!.set(number, digest);
    track(guest.connections, segment(peer, number, 'from'), sentAt);
    // The peer acknowledges, and so is known.
    track(guest.connections, segment(peer, number, 'to'), 0);
  }

  /**
   * A guest goes on under an epoch, with `count` steps done. @param implied outputs that follow from its state
   * @returns what is wrong with its connections
   */
  arrived(
    vmId: string,
    { epoch, count, implied }: { epoch: number; count: number; implied: ReadonlyMap<number, number> },
  ): Wrong | undefined {
    const guest = this.#guest(vmId);
    if (epoch < guest.epoch) return undefined;
    guest.epoch = epoch;
    const before = new Set(guest.connections.keys());
    this.ended += rollBackConnections(guest.connections, guestAddress, count).ended;
    let wrong: Wrong | undefined;
    guest.heard.forEach((heard, peer) => {
      const lost = [...heard].find(([number, digest]) => implied.get(number) !== digest);
      const key = keyOf(peer);
      const isOpen = guest.connections.has(key);
      if (isOpen && lost !== undefined)
        wrong ??= {
          rule: 'stalled',
          message: `peer ${peer} of ${vmId} has heard output ${lost[0]}, which does not follow from its state, and its connection goes on`,
        };
      if (!isOpen && before.has(key) && lost === undefined)
        wrong ??= {
          rule: 'ended-needlessly',
          message: `the connection of ${vmId} to peer ${peer} lost nothing, and was ended`,
        };
      if (!isOpen) heard.clear();
    });
    return wrong;
  }
}

/** To whom a guest sends what it says: by bits of the digest that don't decide whether it is a frame. */
function peerOf(digest: number): number {
  return (digest >>> 8) % peersOfGuest;
}

/** As switches name connections: the lower end first. */
function keyOf(peer: number): string {
  return `${peerAddress}:${firstPort + peer}:${guestAddress}:${guestPort}`;
}

function segment(peer: number, number: number, way: 'from' | 'to'): Uint8Array {
  const [here, there] = [
    { address: guestAddress, port: guestPort, mac: guestMac },
    { address: peerAddress, port: firstPort + peer, mac: peerMac },
  ];
  const [from, to] = way === 'from' ? [here, there] : [there, here];
  const ends = { source: from.address, destination: to.address };
  const { frame } = tcpFrame({
    ...{ ...ends, sourcePort: from.port, destinationPort: to.port, flags: TcpFlag.ack, window: 60_000 },
    sequence: way === 'from' ? (number * payloadBytes) >>> 0 : 1,
    acknowledgment: way === 'from' ? 1 : ((number + 1) * payloadBytes) >>> 0,
    payloadBytes: way === 'from' ? payloadBytes : 0,
  });
  sealTcp(frame, ends);
  writeIpv4(frame, { ...ends, protocol: Protocol.tcp, payloadBytes: frame.length - transportOffset });
  writeEthernet(frame, { destination: to.mac, source: from.mac, type: EtherType.ipv4 });
  return frame;
}
