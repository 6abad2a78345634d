/** Two TCP ends and the path between them, in a time of its own: what is sent may be lost, doubled, held up or turned round. */
import { Random } from '../../../simulation/src/random.ts';
import { copyOut } from '../tcp/byte-queue.ts';
import {
  consumed,
  finish,
  nextTimerMs,
  openActive,
  openPassive,
  runTimers,
  sendRoom,
  write,
} from '../tcp/connection.ts';
import type { OutgoingSegment, TcpContext, TcpNews } from '../tcp/context.ts';
import { receiveSegment } from '../tcp/receive.ts';
import { transmit } from '../tcp/send.ts';
import type { TcpSettings, TcpState } from '../tcp/state.ts';
import { readIpv4, transportOffset, writeIpv4, Protocol } from '../wire/ipv4.ts';
import { readTcp, sealTcp, tcpFrame, type TcpSegment } from '../wire/tcp.ts';

export interface Path {
  loss: number;
  duplication: number;
  delayMs: [number, number];
}

export class End {
  readonly settings: TcpSettings;
  readonly name: string;
  tcp: TcpState | undefined;
  toSend: Uint8Array;
  sent = 0;
  received: Uint8Array[] = [];
  receivedBytes = 0;
  news: TcpNews[] = [];
  /** Consumes what came only so often: a slow reader. */
  held = 0;
  readShare = 1;
  segmentsSent = 0;
  /** Whether it ends when everything is sent. */
  ends = true;

  constructor(name: string, settings: TcpSettings, toSend: Uint8Array) {
    this.name = name;
    this.settings = settings;
    this.toSend = toSend;
  }

  get bytes(): Uint8Array {
    const all = new Uint8Array(this.receivedBytes);
    let at = 0;
    for (const part of this.received) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** The segment as it would be on the wire: built as a frame and read again. */
export function overTheWire(segment: OutgoingSegment, tcp: TcpState | undefined): TcpSegment {
  const ends = { source: 0x0a000202, destination: 0x0a00020f };
  const { frame, payloadAt } = tcpFrame({
    ...ends,
    sourcePort: 1,
    destinationPort: 2,
    sequence: segment.sequence,
    acknowledgment: segment.acknowledgment,
    flags: segment.flags,
    window: segment.window,
    options: segment.options,
    payloadBytes: segment.payload?.length ?? 0,
  });
  if (segment.payload !== undefined && tcp !== undefined)
    copyOut(tcp.queue, segment.payload, { bytes: frame, at: payloadAt });
  sealTcp(frame, ends);
  writeIpv4(frame, { ...ends, protocol: Protocol.tcp, payloadBytes: frame.length - transportOffset });
  return readTcp(frame, readIpv4(frame)!)!;
}

export class Pair {
  readonly random: Random;
  readonly path: Path;
  readonly ends: [End, End];
  nowMs = 0;
  #inFlight: { atMs: number; order: number; to: End; segment: TcpSegment }[] = [];
  #order = 0;
  /** Sees each segment before the path does. */
  onSegment: ((from: End, segment: TcpSegment) => void) | undefined;

  constructor(seed: number, path: Path, ends: [End, End]) {
    this.random = new Random(seed);
    this.path = { ...path };
    this.ends = ends;
    const [client] = ends;
    client.tcp = openActive(this.random.integer(0, 0xffff_ffff), client.settings, 0);
    this.#work(client);
  }

  other(end: End): End {
    return end === this.ends[0] ? this.ends[1] : this.ends[0];
  }

  context(end: End): TcpContext {
    return {
      settings: end.settings,
      nowMs: this.nowMs,
      owner: {
        send: (segment) => {
          this.send(end, overTheWire(segment, end.tcp));
        },
        deliver: (data) => {
          end.received.push(data.slice());
          end.receivedBytes += data.length;
          end.held += data.length;
        },
        news: (what) => {
          if (what !== 'acknowledged') end.news.push(what);
        },
      },
    };
  }

  send(from: End, segment: TcpSegment): void {
    from.segmentsSent++;
    this.onSegment?.(from, segment);
    const { loss, duplication, delayMs } = this.path;
    if (this.random.chance(loss)) return;
    const copies = this.random.chance(duplication) ? 2 : 1;
    for (let n = 0; n < copies; n++) {
      const atMs = this.nowMs + this.random.between(...delayMs);
      this.#inFlight.push({ atMs, order: this.#order++, to: this.other(from), segment });
    }
  }

  /** The end's application writes and reads what it can; then the end sends. */
  #work(end: End): void {
    if (end.tcp === undefined) return;
    const room = Math.min(sendRoom(end.tcp, end.settings), end.toSend.length - end.sent);
    if (room > 0 && end.tcp.phase !== 'synSent' && end.tcp.phase !== 'synReceived') {
      const size = Math.min(room, this.random.integer(1, 40_000));
      if (write(end.tcp, end.toSend.slice(end.sent, end.sent + size), end.settings)) end.sent += size;
    }
    if (end.ends && end.sent === end.toSend.length && end.tcp.phase !== 'synSent') finish(end.tcp);
    if (end.held > 0 && this.random.chance(end.readShare)) {
      consumed(end.tcp, end.held);
      end.held = 0;
    }
    transmit(end.tcp, this.context(end));
  }

  /** One thing happens: an arrival or a timer. False when nothing will any more. */
  step(): boolean {
    this.#inFlight.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
    const arrival = this.#inFlight[0];
    const timers = this.ends.map((end) => (end.tcp === undefined ? Infinity : nextTimerMs(end.tcp)));
    const nextMs = Math.min(arrival?.atMs ?? Infinity, ...timers);
    if (nextMs === Infinity) return false;
    this.nowMs = Math.max(this.nowMs, nextMs);
    if (arrival !== undefined && arrival.atMs <= nextMs) {
      this.#inFlight.shift();
      this.#arrive(arrival.to, arrival.segment);
    } else
      this.ends.forEach((end, n) => {
        if (end.tcp !== undefined && timers[n]! <= nextMs) runTimers(end.tcp, this.context(end));
      });
    for (const end of this.ends) this.#work(end);
    return true;
  }

  #arrive(end: End, segment: TcpSegment): void {
    if (end.tcp === undefined) {
      end.tcp = openPassive(segment, this.random.integer(0, 0xffff_ffff), end.settings, this.nowMs);
      return;
    }
    receiveSegment(end.tcp, segment, this.context(end));
  }

  /** Runs until both ends are closed. */
  run(limitSteps: number): void {
    this.until(() => false, limitSteps);
  }

  /** Runs until `done`, or until nothing happens any more. */
  until(done: () => boolean, limitSteps = 100_000): void {
    for (let n = 0; n < limitSteps; n++) if (done() || !this.step()) return;
    throw new Error(
      `not done after ${limitSteps.toString()} steps: ${this.ends.map((end) => `${end.name} ${end.tcp?.phase ?? 'none'} got ${end.receivedBytes.toString()}`).join(', ')}`,
    );
  }
}
