/**
 * Random and mutated frames, and random events of the host, into gateway and switch; with `--part`, into what reads bytes of others by itself
 * (fuzz-parsers.ts), and into the network cards with hostile drivers (fuzz-cards.ts). `--help` says with which options.
 *
 * Nothing may throw, no frame may leave with a wrong length or checksum, no target may be forbidden, and the state stays in its bounds.
 */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { value } from '../../packages/cli/src/command/options.ts';
import { oneOf, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { handle } from '../../packages/network/src/gateway/gateway.ts';
import type { GatewayEffect, GatewayEvent } from '../../packages/network/src/gateway/events.ts';
import { defaultGatewaySettings, type GatewaySettings } from '../../packages/network/src/gateway/settings.ts';
import { FrameBuffers } from '../../packages/network/src/gateway/frame-buffers.ts';
import { newGatewayState, type GatewayState } from '../../packages/network/src/gateway/state.ts';
import { forward, newSwitch, type SwitchState } from '../../packages/network/src/switch/switch.ts';
import {
  arpFrame,
  assertSound,
  gatewayAddress,
  guestAddress,
  ipFrame,
  nameServer,
  tcpGuestFrame,
  udpFrame,
} from '../../packages/network/src/testing/guest.ts';
import { isUnroutable } from '../../packages/network/src/wire/address.ts';
import { checksum, get16, set16, sum16 } from '../../packages/network/src/wire/bytes.ts';
import { buildIcmp } from '../../packages/network/src/wire/icmp.ts';
import { Protocol, readIpv4, pseudoHeaderSum } from '../../packages/network/src/wire/ipv4.ts';
import { readTcp } from '../../packages/network/src/wire/tcp.ts';
import { Random } from '../../packages/simulation/src/random.ts';
import { cards } from './fuzz-cards.ts';
import { Parsers } from './fuzz-parsers.ts';

const outside = [0xc000_0207, 0x0808_0808, 0x7f00_0001, 0, 0xa9fe_a9fe, 0xe000_0001, 0xffff_ffff];

/** Random bytes for all that a gateway is given. */
const drawnBytes = 0x8000;

class Gateway {
  readonly random: Random;
  readonly settings: GatewaySettings;
  state: GatewayState;
  readonly switch: SwitchState = newSwitch();
  nowMs = 0;
  frames = 0;
  /** What guests have seen of their connections: so that random segments often fit. */
  #seen: {
    sourcePort: number;
    destinationPort: number;
    destination: number;
    sequence: number;
    acknowledgment: number;
  }[] = [];
  #sockets: number[] = [];
  #flows: number[] = [];
  #queries: number[] = [];
  #accepted = 1;
  readonly #buffers = new FrameBuffers();
  readonly #drawn: Uint8Array;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.#drawn = Uint8Array.from({ length: drawnBytes }, () => this.random.integer(0, 255));
    this.settings = {
      ...defaultGatewaySettings(),
      frameBytes: this.random.pick([1514, 65_549]),
      hostPorts: [5432],
      forwards: [
        { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 },
        { protocol: 'udp', hostAddress: '127.0.0.1', hostPort: 8053, guestPort: 53 },
      ],
    };
    this.state = newGatewayState([seed, 2, 3, 4]);
    for (let n = 1; n <= 3; n++)
      this.switch.ports.set(n, { link: n === 3, frameBytes: 1514, hearsAll: true });
  }

  /** One event; throws when a rule is broken. */
  step(): void {
    const { random } = this;
    const event = random.chance(0.7) ? ({ kind: 'frame', frame: this.frame() } as const) : this.#hostEvent();
    if (event.kind === 'frame') {
      this.frames++;
      for (const { frame } of forward(this.switch, random.integer(1, 3), event.frame, this.nowMs))
        if (frame.length > 1514) throw new Error('a port was given a frame that it does not take');
    }
    if (random.chance(0.2)) this.nowMs += random.pick([1, 5, 100, 1000, 100_000]);
    const effects = handle(this.settings, this.state, [event], this.nowMs, this.#buffers);
    for (const effect of effects) this.#check(effect);
    for (const effect of effects) if (effect.kind === 'frame') this.#done(effect.frame);
    this.#checkBounds();
  }

  /** What is left in a frame that is used again must not come out. */
  #done(frame: Uint8Array): void {
    frame.fill(0xee);
    this.#buffers.give(frame);
  }

  /** A frame of a guest, well-formed or not. */
  frame(): Uint8Array {
    const { random } = this;
    if (random.chance(0.05)) return this.#bytes(random.integer(0, 200));
    const frame = this.#goodFrame();
    if (random.chance(0.5)) return frame;
    const changes = random.integer(1, 4);
    for (let n = 0; n < changes; n++) frame[random.integer(0, frame.length - 1)] = random.integer(0, 255);
    // Half of the mutants get right checksums, so that they pass the first gate.
    if (random.chance(0.5)) mend(frame);
    return random.chance(0.1) ? frame.subarray(0, random.integer(0, frame.length)) : frame;
  }

  #goodFrame(): Uint8Array {
    const { random } = this;
    const destination = random.pick([gatewayAddress, nameServer, guestAddress + 1, ...outside]);
    switch (random.integer(0, 9)) {
      case 0:
        return arpFrame(
          random.integer(0, 4),
          random.pick([gatewayAddress, nameServer, guestAddress]),
          random.pick([guestAddress, 0, gatewayAddress, guestAddress + random.integer(0, 300)]),
        );
      case 1:
        return ipFrame(
          destination,
          Protocol.icmp,
          buildIcmp({ type: random.pick([8, 8, 0, 3]), code: 0, rest: this.#bytes(40) }),
        );
      case 2:
        return udpFrame(
          0xffff_ffff,
          { sourcePort: 68, destinationPort: 67, data: this.#dhcp() },
          random.pick([0, guestAddress]),
        );
      case 3:
        return udpFrame(nameServer, {
          sourcePort: random.integer(1, 60_000),
          destinationPort: 53,
          data: this.#dns(),
        });
      case 4:
        return udpFrame(destination, {
          sourcePort: random.integer(1, 3000),
          destinationPort: random.pick([53, 5432, 49_152, random.integer(0, 65_535)]),
          data: this.#bytes(random.integer(0, 1400)),
        });
      case 5:
        return ipFrame(destination, random.integer(0, 255), this.#bytes(random.integer(0, 100)));
      default:
        return this.#tcp(destination);
    }
  }

  #tcp(destination: number): Uint8Array {
    const { random } = this;
    const known = this.#seen.length > 0 && random.chance(0.8) ? random.pick(this.#seen) : undefined;
    const payload = random.chance(0.5) ? this.#bytes(random.integer(1, 1460)) : new Uint8Array();
    const flags =
      known === undefined
        ? 2
        : random.pick([0x10, 0x10, 0x10, 0x10, 0x18, 0x11, 0x12, 0x04, 0x14, 0x02, random.integer(0, 63)]);
    const near = (value: number): number =>
      (value + random.pick([0, 0, 0, 0, 1, -1, 1460, 3000, -70_000, 70_000])) >>> 0;
    return tcpGuestFrame(known?.destination ?? destination, {
      sourcePort: known?.sourcePort ?? random.integer(1, 2000),
      destinationPort: known?.destinationPort ?? random.pick([53, 80, 5432]),
      sequence: near(known?.sequence ?? random.integer(0, 0xffff_ffff)),
      acknowledgment: near(known?.acknowledgment ?? 0),
      window: random.pick([0, 1, 1000, 65_535]),
      flags,
      payload,
    });
  }

  #dhcp(): Uint8Array {
    const data = this.#bytes(300);
    data.set([1, 1, 6]);
    data.fill(0, 24, 28);
    data.set(
      [
        0x63,
        0x82,
        0x53,
        0x63,
        53,
        1,
        this.random.integer(0, 9),
        50,
        4,
        10,
        0,
        2,
        this.random.integer(0, 255),
        this.random.pick([255, 0, 51]),
      ],
      236,
    );
    return data;
  }

  #dns(): Uint8Array {
    return Uint8Array.from([
      0,
      this.random.integer(0, 255),
      1,
      0,
      0,
      1,
      0,
      0,
      0,
      0,
      0,
      0,
      1,
      this.random.integer(97, 122),
      0,
      0,
      1,
      0,
      1,
    ]);
  }

  /** Of bytes that are drawn once: drawing them anew each time would cost more than all else. */
  #bytes(length: number): Uint8Array {
    const from = this.random.integer(0, this.#drawn.length - length);
    return this.#drawn.slice(from, from + length);
  }

  #hostEvent(): GatewayEvent {
    const { random } = this;
    const pick = (numbers: number[]): number =>
      numbers.length > 0 && random.chance(0.9) ? random.pick(numbers) : random.integer(0, 100);
    const socket = pick(this.#sockets);
    const data = this.#bytes(random.pick([0, 1, 100, 1460, 5000]));
    const port = random.integer(1, 65_535);
    switch (random.integer(0, 12)) {
      case 0:
      case 1:
      case 2:
        return { kind: 'tcpConnected', socket };
      case 3:
        return { kind: 'tcpFailed', socket, reason: random.pick(['refused', 'unreachable']) };
      case 4:
        return { kind: 'tcpAccepted', socket: this.#newAccepted(), forward: random.integer(0, 2) };
      case 5:
      case 6:
        return { kind: 'tcpReceived', socket, data };
      case 7:
        return { kind: 'tcpWritten', socket, bytes: random.integer(0, 5000) };
      case 8:
        return { kind: 'tcpEnded', socket };
      case 9:
        return { kind: 'tcpClosed', socket };
      case 10:
        return {
          kind: 'udpReceived',
          flow: pick(this.#flows),
          address: random.pick(outside),
          port: random.pick([53, port]),
          data,
        };
      case 11:
        return {
          kind: 'udpArrived',
          forward: random.integer(0, 2),
          address: random.integer(1, 0xffff_ffff),
          port,
          data,
        };
      default:
        return {
          kind: 'dnsAnswered',
          query: pick(this.#queries),
          data: random.chance(0.2) ? undefined : this.#dnsAnswer(),
        };
    }
  }

  #newAccepted(): number {
    this.#accepted += 2;
    this.#note(this.#sockets, this.#accepted);
    return this.#accepted;
  }

  #dnsAnswer(): Uint8Array {
    const question = this.#dns();
    question[2] = 0x81;
    question[7] = 1;
    const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, this.random.integer(0, 255), 0, 4, 1, 2, 3, 4];
    const answer = Uint8Array.from([...question, ...record]);
    if (this.random.chance(0.3))
      answer[this.random.integer(0, answer.length - 1)] = this.random.integer(0, 255);
    return answer;
  }

  #note(list: number[], number: number): void {
    list.push(number);
    if (list.length > 50) list.shift();
  }

  #check(effect: GatewayEffect): void {
    if (effect.kind === 'frame') {
      assertSound(effect.frame);
      if (effect.frame.length > this.settings.frameBytes) throw new Error('a frame larger than guests take');
      this.#see(effect.frame);
    } else if (effect.kind === 'tcpConnect') this.#note(this.#sockets, effect.socket);
    else if (effect.kind === 'udpSend') this.#note(this.#flows, effect.flow);
    else if (effect.kind === 'dnsQuery') this.#note(this.#queries, effect.query);
    const target = effect.kind === 'tcpConnect' || effect.kind === 'udpSend' ? effect.target : undefined;
    if (target?.kind === 'address' && isUnroutable(target.address)) throw new Error('a forbidden target');
    if (target?.kind === 'loopback' && target.port !== 5432)
      throw new Error('a port of the host that was not opened');
  }

  #see(frame: Uint8Array): void {
    const header = readIpv4(frame);
    const segment = header?.protocol === Protocol.tcp ? readTcp(frame, header) : undefined;
    if (header === undefined || segment === undefined || segment.flags & 4) return;
    const length = segment.payload.length + (segment.flags & 3 ? 1 : 0);
    this.#seen.push({
      sourcePort: segment.destinationPort,
      destinationPort: segment.sourcePort,
      destination: header.source,
      sequence: segment.acknowledgment,
      acknowledgment: (segment.sequence + length) >>> 0,
    });
    if (this.#seen.length > 100) this.#seen.splice(0, 50);
  }

  #checkBounds(): void {
    const { state } = this;
    const { limits } = this.settings;
    const inside =
      state.tcp.size <= limits.tcpFlows &&
      state.tcp.size === state.tcpBySocket.size &&
      state.udp.size <= limits.udpFlows &&
      state.udp.size === state.udpByNumber.size &&
      state.visitors.size <= limits.udpFlows &&
      state.visitors.size === state.visitorsByPort.size &&
      state.neighbours.size <= limits.neighbours &&
      state.resolutions.size <= 64 &&
      state.leases.size <= 254 &&
      state.queries.size <= limits.dnsQueries &&
      state.dnsCache.size <= limits.dnsCacheEntries &&
      state.fragments.size <= limits.fragmentedPackets;
    if (!inside) throw new Error('the state grew beyond its bounds');
    for (const { tcp } of this.random.chance(0.01) ? state.tcp.values() : []) {
      if (tcp === undefined) continue;
      const early = tcp.early.reduce((sum, { data }) => sum + data.length, 0);
      if (
        tcp.queue.length > 2 * limits.tcpBufferBytes ||
        early > limits.tcpBufferBytes ||
        tcp.early.length > 128
      )
        throw new Error('a connection holds more than it may');
    }
  }
}

/** Makes length and checksums of a mutated IPv4 frame right again. */
function mend(frame: Uint8Array): void {
  if (frame.length < 34 || get16(frame, 12) !== 0x0800) return;
  frame[14] = 0x45;
  set16(frame, 16, frame.length - 14);
  set16(frame, 24, 0);
  set16(frame, 24, checksum(sum16(frame, 14, 34)));
  const header = readIpv4(frame);
  if (header === undefined || header.moreFragments || header.fragmentOffset > 0) return;
  const { payloadFrom: from, payloadTo: to, protocol, source, destination } = header;
  const at = { [Protocol.icmp]: 2, [Protocol.tcp]: 16, [Protocol.udp]: 6 }[protocol];
  if (at === undefined || from + at + 2 > to) return;
  if (protocol === Protocol.udp) set16(frame, from + 4, to - from);
  set16(frame, from + at, 0);
  const pseudo =
    protocol === Protocol.icmp ? 0 : pseudoHeaderSum({ source, destination, protocol, bytes: to - from });
  set16(frame, from + at, checksum(pseudo + sum16(frame, from, to)));
}

/** What is fuzzed: each makes one of its kind by a seed, whose steps are events. */
const parts = {
  gateway: (seed: number) => new Gateway(seed),
  parsers: (seed: number) => {
    const source = new Gateway(seed);
    return new Parsers(source.random, () => source.frame());
  },
  'virtio-net': (seed: number) => cards['virtio-net'](new Random(seed)),
  e1000: (seed: number) => cards.e1000(new Random(seed)),
  rtl8139: (seed: number) => cards.rtl8139(new Random(seed)),
} satisfies Record<string, (seed: number) => { step: () => void; frames?: number }>;

export type Part = keyof typeof parts;
export const partNames = Object.keys(parts) as Part[];

/** With so many events a new one is begun, by the next seed: whoever runs several at a time gives them seeds that are `count` / 20,000 apart. */
const eventsOfSeed = 20_000;

/** Runs `count` events; returns the frames among them. */
export function fuzz(part: Part, count: number, seed: number): number {
  let frames = 0;
  for (let done = 0, round = 0; done < count; round++) {
    const one: { step: () => void; frames?: number } = parts[part](seed + round);
    const steps = Math.min(eventsOfSeed, count - done);
    for (let n = 0; n < steps; n++) {
      try {
        one.step();
      } catch (error) {
        throw new Error(`${part}, seed ${(seed + round).toString()}, event ${n.toString()}`, {
          cause: error,
        });
      }
    }
    done += steps;
    frames += one.frames ?? steps;
  }
  return frames;
}

const command = define({
  words: [],
  options: {
    count: value('N', 'events (default 1000000)', wholeNumber(1), 1_000_000),
    seed: value('N', 'which ones (default 1)', wholeNumber(), 1),
    part: value(
      'NAME',
      `${partNames.join(', ')}, or all (default gateway)`,
      oneOf([...partNames, 'all']),
      'gateway',
    ),
  },
  examples: ['--count 10000000 --seed 7', '--part all --count 10000000'],
  run({ options: { count, seed, part } }) {
    for (const name of part === 'all' ? partNames : [part]) {
      const began = performance.now();
      const frames = fuzz(name, count, seed);
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      const mebibytes = ((heapUsed + arrayBuffers) / 1048576).toFixed(0);
      console.log(
        `${name}: ${count.toString()} events, ${frames.toString()} of them frames: no fault; ${seconds} s, ${mebibytes} MiB in use`,
      );
    }
    return Promise.resolve(undefined);
  },
});

if (import.meta.main)
  process.exitCode = await inOneLine('fuzz', () =>
    dispatchOne(
      {
        path: 'node test/network/fuzz.ts',
        summary: 'random and mutated frames into gateway, switch, parsers and network cards',
        command,
      },
      process.argv.slice(2),
    ),
  );
