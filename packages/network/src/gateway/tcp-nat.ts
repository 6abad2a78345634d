/**
 * TCP by translation: the gateway ends the guest's connections itself (tcp/), and carries their bytes to and from the host's sockets. A
 * guest's SYN is answered when the host's connection stands, so that a refusal reaches it as one.
 *
 * What always holds: a flow is in `tcp` and in `tcpBySocket`, or in neither; after `released` no effect names its socket.
 */
import { copyOut } from '../tcp/byte-queue.ts';
import {
  abort,
  consumed,
  finish,
  nextTimerMs,
  openActive,
  openPassive,
  resetFor,
  runTimers,
  sendRoom,
  write,
} from '../tcp/connection.ts';
import type { OutgoingSegment, TcpContext, TcpNews } from '../tcp/context.ts';
import { receiveSegment } from '../tcp/receive.ts';
import { transmit } from '../tcp/send.ts';
import { advance, distance, later } from '../tcp/sequence.ts';
import { defaultTcpSettings, type TcpSettings, type TcpState } from '../tcp/state.ts';
import { copyOf } from '../wire/bytes.ts';
import { ethernetHeaderBytes } from '../wire/ethernet.ts';
import { IcmpType, Unreachable } from '../wire/icmp.ts';
import {
  ipHeaderBytes,
  Protocol,
  readIpv4,
  transportOffset,
  writeIpv4,
  type Ipv4Header,
} from '../wire/ipv4.ts';
import {
  readTcp,
  sealTcp,
  tcpFrame,
  TcpFlag,
  tcpHeaderBytes,
  type TcpFields,
  type TcpSegment,
} from '../wire/tcp.ts';
import type { Target } from './events.ts';
import { initialSequence } from './initial-sequence.ts';
import { sendError, sendFrame } from './link.ts';
import { guestOf, type GatewaySettings } from './settings.ts';
import { takeNumber, takePort, wakeAt, type TcpFlow, type Turn } from './state.ts';

const maxTimeWait = 256;

export function tcpKey(
  flow: Pick<TcpFlow, 'guestAddress' | 'guestPort' | 'remoteAddress' | 'remotePort'>,
): string {
  return `${flow.guestAddress.toString()}:${flow.guestPort.toString()}:${flow.remoteAddress.toString()}:${flow.remotePort.toString()}`;
}

export function tcpSettingsOf({ mtu, frameBytes, limits }: GatewaySettings): TcpSettings {
  const headers = ipHeaderBytes + tcpHeaderBytes;
  return {
    ...defaultTcpSettings,
    sendBytes: limits.tcpBufferBytes,
    receiveBytes: limits.tcpBufferBytes,
    maximumSegment: mtu - headers,
    burstBytes: Math.max(frameBytes - ethernetHeaderBytes, mtu) - headers,
  };
}

export function receiveTcp(
  turn: Turn,
  frame: Uint8Array,
  header: Ipv4Header,
  target: Target | undefined,
): void {
  const segment = readTcp(frame, header);
  if (segment === undefined) return;
  const ends = {
    guestAddress: header.source,
    guestPort: segment.sourcePort,
    remoteAddress: header.destination,
    remotePort: segment.destinationPort,
  };
  const flow = turn.state.tcp.get(tcpKey(ends));
  const opens = (segment.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) === TcpFlag.syn;
  if (flow !== undefined && !(opens && mayReopen(flow, segment))) {
    if (flow.tcp !== undefined) {
      const { phase, rcvNxt, sndUna } = flow.tcp;
      receiveSegment(flow.tcp, segment, contextOf(turn, flow));
      if (segment.payload.length > 0 || hasMoved({ phase, rcvNxt, sndUna }, flow.tcp))
        flow.progressAt = turn.sentAt;
      turn.changed.add(flow);
    } else if (segment.flags & TcpFlag.rst) dropFlow(turn, flow);
    return;
  }
  if (!opens || target === undefined || !makeFlowRoom(turn)) {
    refuse(turn, ends, segment);
    return;
  }
  const issAfter = flow?.tcp?.sndMax;
  if (flow !== undefined) removeFlow(turn, flow);
  const connecting = addFlow(turn, {
    ...ends,
    socket: takeNumber(turn.state),
    issAfter,
    syn: copyOf(frame.subarray(0, header.payloadTo)),
  });
  turn.effects.push({ kind: 'tcpConnect', socket: connecting.socket, target });
}

type Moves = Pick<TcpState, 'phase' | 'rcvNxt' | 'sndUna'>;

/** Something was agreed on that neither side may take back. */
function hasMoved(before: Moves, now: Moves): boolean {
  return before.phase !== now.phase || before.rcvNxt !== now.rcvNxt || before.sndUna !== now.sndUna;
}

/** RFC 9293, 3.6.1: a new connection may take the place of one in TIME-WAIT when its numbers lie behind the old ones. */
function mayReopen({ tcp }: TcpFlow, { sequence }: TcpSegment): boolean {
  return tcp?.phase === 'timeWait' && distance(sequence, tcp.rcvNxt) > 0;
}

function refuse(turn: Turn, ends: Ends, segment: TcpSegment): void {
  const reset = resetFor(segment);
  if (reset !== undefined) sendSegment(turn, ends, { ...reset, window: 0 });
}

type Ends = Pick<TcpFlow, 'guestAddress' | 'guestPort' | 'remoteAddress' | 'remotePort'>;

/** Whether there is room for one more; the oldest in TIME-WAIT makes it. */
function makeFlowRoom(turn: Turn): boolean {
  const { tcp } = turn.state;
  const { tcpFlows, tcpConnecting } = turn.settings.limits;
  if (tcp.size < Math.min(tcpConnecting, maxTimeWait)) return true;
  let connecting = 0;
  const waiting: TcpFlow[] = [];
  for (const flow of tcp.values()) {
    if (flow.tcp === undefined || flow.tcp.phase === 'synSent') connecting++;
    else if (flow.tcp.phase === 'timeWait') waiting.push(flow);
  }
  if (connecting >= tcpConnecting) return false;
  const tooMany = Math.max(waiting.length - maxTimeWait, tcp.size - tcpFlows + 1, 0);
  for (const flow of waiting.slice(0, tooMany)) removeFlow(turn, flow);
  return tcp.size < tcpFlows;
}

function addFlow(turn: Turn, about: Ends & Pick<TcpFlow, 'socket' | 'syn' | 'issAfter'>): TcpFlow {
  const flow: TcpFlow = { ...about, tcp: undefined, paused: false, released: false, progressAt: turn.sentAt };
  turn.state.tcp.set(tcpKey(flow), flow);
  turn.state.tcpBySocket.set(flow.socket, flow);
  return flow;
}

function removeFlow({ state, changed }: Turn, flow: TcpFlow): void {
  state.tcp.delete(tcpKey(flow));
  state.tcpBySocket.delete(flow.socket);
  changed.delete(flow);
}

/** The guest's side is gone: break the host's. */
function dropFlow(turn: Turn, flow: TcpFlow): void {
  if (!flow.released) turn.effects.push({ kind: 'tcpReset', socket: flow.socket });
  flow.released = true;
  removeFlow(turn, flow);
}

/** Ends a connection with a reset to both sides. */
export function breakFlow(turn: Turn, flow: TcpFlow): void {
  if (flow.tcp !== undefined) abort(flow.tcp, contextOf(turn, flow));
  dropFlow(turn, flow);
}

/** Nobody has this address: who came in for it is told so, as by any router (RFC 1122, 3.2.2.1). */
export function guestIsAbsent(turn: Turn, address: number): void {
  for (const flow of [...turn.state.tcp.values()])
    if (flow.guestAddress === address && flow.tcp?.phase === 'synSent') dropFlow(turn, flow);
}

// --- what the host says ---

export function tcpConnected(turn: Turn, socket: number): void {
  const flow = turn.state.tcpBySocket.get(socket);
  if (flow?.syn === undefined) return;
  const header = readIpv4(flow.syn)!;
  const segment = readTcp(flow.syn, header)!;
  let iss = initialSequence(turn.state.secret, flow, turn.nowMs);
  if (flow.issAfter !== undefined) iss = later(iss, advance(flow.issAfter, 1));
  flow.tcp = openPassive(segment, iss, turn.tcpSettings, turn.nowMs);
  flow.syn = undefined;
  turn.changed.add(flow);
}

export function tcpFailed(turn: Turn, socket: number, reason: 'refused' | 'unreachable'): void {
  const flow = turn.state.tcpBySocket.get(socket);
  if (flow?.syn === undefined) return;
  flow.released = true;
  removeFlow(turn, flow);
  const header = readIpv4(flow.syn)!;
  if (reason === 'refused') refuse(turn, flow, readTcp(flow.syn, header)!);
  else sendError(turn, { type: IcmpType.unreachable, code: Unreachable.host }, flow.syn, header);
}

export function tcpAccepted(turn: Turn, socket: number, number: number): void {
  const { state, settings, nowMs } = turn;
  const forward = settings.forwards[number];
  if (state.tcpBySocket.has(socket)) return;
  const guestAddress = forward === undefined ? 0 : guestOf(settings, forward);
  const ends = { guestAddress, guestPort: forward?.guestPort ?? 0, remoteAddress: settings.address };
  const room = forward?.protocol === 'tcp' && makeFlowRoom(turn);
  const remotePort = room
    ? takePort(state, (port) => state.tcp.has(tcpKey({ ...ends, remotePort: port })))
    : undefined;
  if (remotePort === undefined) {
    turn.effects.push({ kind: 'tcpReset', socket });
    return;
  }
  const flow = addFlow(turn, { ...ends, remotePort, socket, syn: undefined, issAfter: undefined });
  flow.tcp = openActive(initialSequence(state.secret, flow, nowMs), turn.tcpSettings, nowMs);
  turn.changed.add(flow);
}

export function tcpReceived(turn: Turn, socket: number, data: Uint8Array): void {
  const flow = turn.state.tcpBySocket.get(socket);
  if (flow?.tcp === undefined) return;
  const settings = turn.tcpSettings;
  // A host that was asked to pause may have read a little more.
  const withSlack = { ...settings, sendBytes: settings.sendBytes * 2 };
  if (!write(flow.tcp, data, withSlack)) {
    breakFlow(turn, flow);
    return;
  }
  if (!flow.paused && sendRoom(flow.tcp, settings) < settings.sendBytes / 2) setPaused(turn, flow, true);
  turn.changed.add(flow);
}

function setPaused(turn: Turn, flow: TcpFlow, paused: boolean): void {
  flow.paused = paused;
  if (!flow.released) turn.effects.push({ kind: 'tcpFlow', socket: flow.socket, paused });
}

export function tcpWritten(turn: Turn, socket: number, bytes: number): void {
  const flow = turn.state.tcpBySocket.get(socket);
  if (flow?.tcp === undefined) return;
  consumed(flow.tcp, bytes);
  turn.changed.add(flow);
}

export function tcpEnded(turn: Turn, socket: number): void {
  const flow = turn.state.tcpBySocket.get(socket);
  if (flow?.tcp === undefined) return;
  finish(flow.tcp);
  turn.changed.add(flow);
}

export function tcpClosed(turn: Turn, socket: number): void {
  const flow = turn.state.tcpBySocket.get(socket);
  if (flow === undefined || flow.released) return;
  if (flow.syn !== undefined) {
    tcpFailed(turn, socket, 'refused');
    return;
  }
  if (flow.tcp !== undefined) abort(flow.tcp, contextOf(turn, flow));
  flow.released = true;
  removeFlow(turn, flow);
}

// --- the guest's end ---

function contextOf(turn: Turn, flow: TcpFlow): TcpContext {
  return {
    settings: turn.tcpSettings,
    nowMs: turn.nowMs,
    owner: {
      send: (segment) => {
        sendSegment(turn, flow, segment, flow);
      },
      deliver: (data) => {
        if (!flow.released) turn.effects.push({ kind: 'tcpWrite', socket: flow.socket, data });
      },
      news: (what) => {
        hear(turn, flow, what);
      },
      done: (data) => turn.buffers?.give(data),
    },
  };
}

function hear(turn: Turn, flow: TcpFlow, what: TcpNews): void {
  switch (what) {
    case 'acknowledged':
      if (flow.paused && flow.tcp !== undefined) {
        const { tcpSettings } = turn;
        if (sendRoom(flow.tcp, tcpSettings) >= tcpSettings.sendBytes / 2) setPaused(turn, flow, false);
      }
      return;
    case 'peerFinished':
      if (!flow.released) turn.effects.push({ kind: 'tcpEnd', socket: flow.socket });
      if (flow.tcp?.phase === 'timeWait') release(turn, flow);
      return;
    case 'reset':
    case 'timedOut':
      dropFlow(turn, flow);
      return;
    case 'closed':
      release(turn, flow);
      removeFlow(turn, flow);
      return;
    case 'established':
  }
}

function release(turn: Turn, flow: TcpFlow): void {
  if (!flow.released) turn.effects.push({ kind: 'tcpRelease', socket: flow.socket });
  flow.released = true;
}

/** All connections that changed send what they may. */
export function sendChanged(turn: Turn): void {
  for (const flow of turn.changed) {
    if (flow.tcp === undefined) continue;
    transmit(flow.tcp, contextOf(turn, flow));
    wakeAt(turn.state, nextTimerMs(flow.tcp));
  }
  turn.changed.clear();
}

export function runTcpTimers(turn: Turn): void {
  for (const flow of turn.state.tcp.values()) {
    if (flow.tcp === undefined) continue;
    if (nextTimerMs(flow.tcp) > turn.nowMs) {
      wakeAt(turn.state, nextTimerMs(flow.tcp));
      continue;
    }
    turn.changed.add(flow);
    runTimers(flow.tcp, contextOf(turn, flow));
  }
}

function sendSegment(turn: Turn, ends: Ends, segment: OutgoingSegment, flow?: TcpFlow): void {
  const length = segment.payload?.length ?? 0;
  const fields: TcpFields = {
    source: ends.remoteAddress,
    destination: ends.guestAddress,
    sourcePort: ends.remotePort,
    destinationPort: ends.guestPort,
    sequence: segment.sequence,
    acknowledgment: segment.acknowledgment,
    flags: segment.flags,
    window: segment.window,
    options: segment.options,
    payloadBytes: length,
  };
  const { frame, payloadAt } = tcpFrame(fields, turn.buffers?.take);
  if (segment.payload !== undefined && flow?.tcp !== undefined)
    copyOut(flow.tcp.queue, segment.payload, { bytes: frame, at: payloadAt });
  const { source, destination } = fields;
  sealTcp(frame, fields);
  writeIpv4(frame, {
    source,
    destination,
    protocol: Protocol.tcp,
    payloadBytes: frame.length - transportOffset,
    dontFragment: true,
  });
  sendFrame(turn, destination, frame);
}
