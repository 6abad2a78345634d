/**
 * The host's side of a gateway: carries its effects out with ordinary sockets of this process, and reports what happens as events. Everything
 * that the gateway decides is checked there; here only numbers become sockets.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { GatewayEffect, GatewayEvent, Target } from '../gateway/events.ts';
import type { FrameBuffers } from '../gateway/frame-buffers.ts';
import type { Forward } from '../gateway/settings.ts';
import { formatAddress, parseAddress } from '../wire/address.ts';
import { askServers, nameServers } from './name-servers.ts';

/** What a socket says at one time, at most; what is half as long or longer is kept in memory that is used again. */
const readBytes = 0x1_0000;
/** A socket that was let go, and whose other side doesn't read what is left, is broken then. */
const lingerMs = 60_000;

export class ForwardError extends Error {
  override readonly name = 'ForwardError';
  readonly code: string;
  constructor(forward: Forward, cause: NodeJS.ErrnoException) {
    const place = `${forward.hostAddress}:${forward.hostPort.toString()}/${forward.protocol}`;
    super(`can't listen on ${place}: ${cause.message}`, { cause });
    this.code = cause.code ?? 'UNKNOWN';
  }
}

export class HostSockets {
  readonly #emit: (event: GatewayEvent) => void;
  readonly #buffers: FrameBuffers;
  /** Into which all sockets that were opened here read, one after the other. */
  readonly #read = new Uint8Array(readBytes);
  readonly #tcp = new Map<number, Socket>();
  readonly #udp = new Map<number, UdpSocket>();
  /** By the number of their forward. */
  readonly #servers = new Map<number, Server | UdpSocket>();
  readonly #udpForwards = new Map<number, UdpSocket>();
  readonly #released = new Set<Socket>();
  #accepted = 1;
  #closed = false;

  constructor(emit: (event: GatewayEvent) => void, buffers: FrameBuffers) {
    this.#emit = emit;
    this.#buffers = buffers;
  }

  // --- forwards ---

  /** Opens a forward; returns the port, which was chosen if 0 was asked for. Throws ForwardError. */
  async listen(number: number, forward: Forward): Promise<number> {
    try {
      return forward.protocol === 'tcp'
        ? await this.#listenTcp(number, forward)
        : await this.#listenUdp(number, forward);
    } catch (error) {
      throw new ForwardError(forward, error as NodeJS.ErrnoException);
    }
  }

  async #listenTcp(number: number, { hostAddress, hostPort }: Forward): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const accepted = this.#accepted;
      this.#accepted += 2;
      this.#watch(accepted, socket);
      this.#emit({ kind: 'tcpAccepted', socket: accepted, forward: number });
    });
    server.listen({ host: hostAddress, port: hostPort });
    await once(server, 'listening');
    this.#servers.set(number, server);
    return (server.address() as AddressInfo).port;
  }

  async #listenUdp(number: number, { hostAddress, hostPort }: Forward): Promise<number> {
    const socket = createSocket('udp4');
    socket.bind({ address: hostAddress, port: hostPort });
    await once(socket, 'listening');
    socket.on('error', () => undefined);
    socket.on('message', (data, from) => {
      this.#emit({ kind: 'udpArrived', forward: number, ...endOf(from), data });
    });
    this.#servers.set(number, socket);
    this.#udpForwards.set(number, socket);
    return socket.address().port;
  }

  /** Takes a forward back; what entered by it goes on. */
  unlisten(number: number): void {
    this.#servers.get(number)?.close();
    this.#servers.delete(number);
    this.#udpForwards.delete(number);
  }

  // --- effects ---

  /** Carries out what is not a frame. */
  perform(effect: GatewayEffect): void {
    if (this.#closed) return;
    switch (effect.kind) {
      case 'tcpConnect':
        this.#connect(effect.socket, effect.target);
        return;
      case 'tcpWrite':
        this.#write(effect.socket, effect.data);
        return;
      case 'tcpEnd':
        this.#tcp.get(effect.socket)?.end();
        return;
      case 'tcpReset':
        this.#take(effect.socket)?.resetAndDestroy();
        return;
      case 'tcpRelease':
        this.#release(effect.socket);
        return;
      case 'tcpFlow':
        if (effect.paused) this.#tcp.get(effect.socket)?.pause();
        else this.#tcp.get(effect.socket)?.resume();
        return;
      case 'udpSend':
        this.#send(effect.flow, effect.target, effect.data);
        return;
      case 'udpClose':
        this.#udp.get(effect.flow)?.close();
        this.#udp.delete(effect.flow);
        return;
      case 'udpReply':
        this.#udpForwards.get(effect.forward)?.send(effect.data, effect.port, formatAddress(effect.address));
        return;
      case 'dnsQuery':
        void askServers(effect.data).then((data) => {
          if (!this.#closed) this.#emit({ kind: 'dnsAnswered', query: effect.query, data });
        });
        return;
      case 'frame':
    }
  }

  #connect(number: number, target: Target): void {
    const place = placeOf(target);
    if (place === undefined) {
      queueMicrotask(() => {
        this.#emit({ kind: 'tcpFailed', socket: number, reason: 'unreachable' });
      });
      return;
    }
    // Node would read each time into memory of its own, 64 KiB outside of V8's heap (`FrameBuffers`).
    const callback = (bytes: number): boolean => {
      this.#heard(number, socket, this.#kept(bytes));
      return true;
    };
    const onread = { buffer: this.#read, callback };
    const socket = connect({ ...place, allowHalfOpen: true, noDelay: true, onread });
    this.#watch(number, socket, () => {
      this.#emit({ kind: 'tcpConnected', socket: number });
    });
  }

  #watch(number: number, socket: Socket, connected?: () => void): void {
    let stands = connected === undefined;
    this.#tcp.set(number, socket);
    const mine = (): boolean => this.#tcp.get(number) === socket;
    if (connected !== undefined)
      socket.on('connect', () => {
        stands = true;
        if (mine()) connected();
      });
    // Of one that was opened here nothing comes by this: it has told `callback`.
    socket.on('data', (data) => {
      this.#heard(number, socket, data);
    });
    socket.on('end', () => {
      if (mine()) this.#emit({ kind: 'tcpEnded', socket: number });
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!mine()) return;
      this.#tcp.delete(number);
      const refused = error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET';
      if (stands) this.#emit({ kind: 'tcpClosed', socket: number });
      else this.#emit({ kind: 'tcpFailed', socket: number, reason: refused ? 'refused' : 'unreachable' });
    });
    // Both directions ended in order: the gateway hears of the end itself, and lets the socket go.
    socket.on('close', () => this.#released.delete(socket));
  }

  #heard(number: number, socket: Socket, data: Uint8Array): void {
    if (this.#tcp.get(number) === socket) this.#emit({ kind: 'tcpReceived', socket: number, data });
  }

  /** A copy of what was read last. */
  #kept(bytes: number): Uint8Array {
    const read = this.#read.subarray(0, bytes);
    if (bytes < readBytes / 2) return read.slice();
    const kept = this.#buffers.take(bytes);
    kept.set(read);
    return kept;
  }

  #write(number: number, data: Uint8Array): void {
    const socket = this.#tcp.get(number);
    socket?.write(data, (error) => {
      if (!error && this.#tcp.get(number) === socket)
        this.#emit({ kind: 'tcpWritten', socket: number, bytes: data.length });
    });
  }

  #take(number: number): Socket | undefined {
    const socket = this.#tcp.get(number);
    this.#tcp.delete(number);
    return socket;
  }

  #release(number: number): void {
    const socket = this.#take(number);
    if (socket === undefined || socket.destroyed) return;
    this.#released.add(socket);
    socket.end();
    socket.resume();
    const linger = setTimeout(() => socket.resetAndDestroy(), lingerMs).unref();
    // A socket that is gone must not be kept by its timer: there may be thousands a minute.
    socket.on('close', () => {
      clearTimeout(linger);
    });
  }

  #send(flow: number, target: Target, data: Uint8Array): void {
    const place = placeOf(target);
    if (place === undefined) return;
    let socket = this.#udp.get(flow);
    if (socket === undefined) {
      socket = createSocket('udp4');
      this.#udp.set(flow, socket);
      socket.on('error', () => undefined);
      socket.on('message', (message, from) => {
        this.#emit({ kind: 'udpReceived', flow, ...endOf(from), data: message });
      });
    }
    // A datagram that can't be sent is lost, as others are.
    socket.send(data, place.port, place.host, () => undefined);
  }

  /** Breaks all connections, and stops listening. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of [...this.#tcp.values(), ...this.#released]) socket.resetAndDestroy();
    for (const socket of this.#udp.values()) socket.close();
    this.#tcp.clear();
    this.#udp.clear();
    await Promise.all(
      [...this.#servers.values()].map(
        (server) =>
          new Promise<void>((done) =>
            server.close(() => {
              done();
            }),
          ),
      ),
    );
  }
}

function endOf(from: RemoteInfo): { address: number; port: number } {
  return { address: parseAddress(from.address) ?? 0, port: from.port };
}

function placeOf(target: Target): { host: string; port: number } | undefined {
  switch (target.kind) {
    case 'address':
      return { host: formatAddress(target.address), port: target.port };
    case 'loopback':
      return { host: '127.0.0.1', port: target.port };
    case 'resolver':
      return nameServers()[0];
  }
}
