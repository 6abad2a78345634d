/**
 * Links to the other nodes: each node dials each other one and sends over its own link only. Handshake, both ways by HMAC over
 * fresh nonces of both sides, within three seconds; then frames (frames.ts). Nothing is queued for a peer that is away:
 * heartbeats are worth nothing when they are late, and all else is asked for again.
 */
import { randomBytes } from 'node:crypto';
import { WebSocket, type RawData } from 'ws';
import { ClusterError } from '../errors.ts';
import { mac, sameMac } from '../mac.ts';
import { wsUrl } from '../protocol/address.ts';
import { maxFrameBytes } from '../protocol/limits.ts';
import type { LinkMessage } from '../protocol/link.ts';
import { protocolVersion, versionMismatch } from '../protocol/version.ts';
import { FrameReader, FrameWriter, linkKey, nonceBytes } from './frames.ts';
import { owned } from '../owned.ts';

export interface LinksOptions {
  node: string;
  /** Empty: no authentication (loopback only). */
  token: string;
  heard: (from: string, message: LinkMessage) => void;
  closed: (peer: string) => void;
  refused: (why: string) => void;
  /** Links taken in at once. */
  limit: number;
}

const handshakeMs = 3000;
const redialMs = 250;
/** A link that takes in nothing for so long is congested: what is sent meanwhile is dropped. */
const maxBufferedBytes = 8 << 20;
/** A link whose peer does not answer pings (RFC 6455, 5.5.2) is dialled anew: TCP would try for minutes, ever more rarely. */
const pingMs = 1000;
const silentMs = 3000;

interface Dialled {
  socket: WebSocket;
  writer: FrameWriter | undefined;
  triedAt: number;
  pingedAt: number;
  /** The first ping that has not been answered; Infinity when there is none. */
  waitsSince: number;
}

export class Links {
  readonly #options: LinksOptions;
  readonly #dialled = new Map<string, Dialled>();
  readonly #accepted = new Set<WebSocket>();
  /** The newest link of each peer: an older one is of before a partition. */
  readonly #acceptedFrom = new Map<string, WebSocket>();
  readonly figures = { sent: 0, received: 0, dropped: 0, refused: 0 };
  /** For fault drills: peers whose messages are dropped in both directions, and those that are only not heard; `*` is everybody. */
  readonly cut = new Set<string>();
  readonly deaf = new Set<string>();
  readonly #otherVersions = new Map<string, number>();
  #closed = false;

  constructor(options: LinksOptions) {
    this.#options = options;
  }

  /** Sends when the link is up, and has no more than so much on its way; else drops the message, and dials. */
  send(to: string, address: string | undefined, message: LinkMessage, maxBuffered = maxBufferedBytes): void {
    if (this.#closed || this.#isCut(to)) return;
    const link = this.#dialled.get(to);
    if (link?.writer !== undefined && link.socket.readyState === WebSocket.OPEN && this.#answers(link)) {
      if (link.socket.bufferedAmount > maxBuffered) {
        this.figures.dropped++;
        return;
      }
      const frame = this.#encode(link.writer, to, message);
      if (frame === undefined) return;
      this.figures.sent++;
      link.socket.send(frame);
      return;
    }
    if (address !== undefined) this.#dial(to, address);
  }

  /** Undefined for a message that is too large: lost like any other that a link does not bring. */
  #encode(writer: FrameWriter, to: string, message: LinkMessage): Buffer | undefined {
    try {
      return writer.encode(message);
    } catch (error) {
      this.figures.dropped++;
      this.#options.refused(`for ${to}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** Ends a link that is silent. */
  #answers(link: Dialled): boolean {
    const now = performance.now();
    if (now - link.waitsSince > silentMs) {
      link.socket.terminate();
      return false;
    }
    if (now - link.pingedAt > pingMs) {
      link.pingedAt = now;
      link.waitsSince = Math.min(link.waitsSince, now);
      link.socket.ping();
    }
    return true;
  }

  #isCut(peer: string): boolean {
    return this.cut.has(peer) || this.cut.has('*');
  }

  #dial(to: string, address: string): void {
    const before = this.#dialled.get(to);
    const now = performance.now();
    if (
      before !== undefined &&
      (before.socket.readyState <= WebSocket.OPEN || now - before.triedAt < redialMs)
    )
      return;
    const socket = new WebSocket(`${wsUrl(address)}/v1/link`, {
      handshakeTimeout: handshakeMs,
      maxPayload: maxFrameBytes,
      perMessageDeflate: false,
    });
    const link: Dialled = { socket, writer: undefined, triedAt: now, pingedAt: now, waitsSince: Infinity };
    this.#dialled.set(to, link);
    const nonce = randomBytes(nonceBytes);
    const timer = setTimeout(() => socket.terminate(), handshakeMs);
    let serverNonce: Buffer | undefined;
    socket.on('error', () => undefined);
    socket.on('pong', () => (link.waitsSince = Infinity));
    socket.on('close', () => {
      clearTimeout(timer);
      if (link.writer !== undefined && !this.#closed && !this.#isCut(to)) this.#options.closed(to);
    });
    socket.on('message', (data: RawData) => {
      const bytes = toBuffer(data);
      if (serverNonce === undefined) {
        // 1. server: version, nonce. 2. we: node, nonce, proof.
        if (bytes.length !== nonceBytes + 1) return socket.terminate();
        if (bytes[0] !== protocolVersion) {
          this.#otherVersion(to, bytes[0]!);
          return socket.terminate();
        }
        serverNonce = Buffer.from(bytes.subarray(1));
        const proof = mac(
          Buffer.from(this.#options.token),
          'client',
          serverNonce,
          nonce,
          this.#options.node,
          to,
        );
        socket.send(Buffer.concat([nonce, proof, Buffer.from(this.#options.node)]));
        return;
      }
      // 3. server: its own proof. From now on only we send.
      const expected = mac(Buffer.from(this.#options.token), 'server', nonce, serverNonce, to);
      if (link.writer !== undefined || !sameMac(bytes, expected)) return socket.terminate();
      clearTimeout(timer);
      link.writer = new FrameWriter(linkKey(this.#options.token, nonce, serverNonce));
    });
  }

  /** Said once for each peer: it is dialled four times a second. */
  #otherVersion(peer: string, version: number): void {
    if (this.#otherVersions.get(peer) === version) return;
    this.#otherVersions.set(peer, version);
    this.#options.refused(versionMismatch(`node ${peer}`, version));
  }

  /** Takes in a socket that asked for /v1/link. `proven` is told once it has shown that it knows the token. */
  accept(socket: WebSocket, proven: () => void = () => undefined): void {
    if (this.#accepted.size >= this.#options.limit) return socket.terminate();
    this.#accepted.add(socket);
    const nonce = randomBytes(nonceBytes);
    let peer: string | undefined;
    let reader: FrameReader | undefined;
    const late = (): void => this.#refuse(socket, 'a link whose handshake took too long');
    const timer = setTimeout(
      owned(late, () => socket.terminate()),
      handshakeMs,
    );
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      this.#accepted.delete(socket);
      if (peer !== undefined && this.#acceptedFrom.get(peer) === socket) this.#acceptedFrom.delete(peer);
      if (peer !== undefined && !this.#closed && !this.#isCut(peer)) this.#options.closed(peer);
    });
    socket.on('message', (data: RawData) => {
      try {
        const bytes = toBuffer(data);
        if (reader === undefined) {
          const hello = this.#checkHello(bytes, nonce);
          peer = hello.peer;
          this.#acceptedFrom.get(peer)?.terminate();
          this.#acceptedFrom.set(peer, socket);
          reader = new FrameReader(linkKey(this.#options.token, hello.nonce, nonce));
          clearTimeout(timer);
          proven();
          socket.send(
            mac(Buffer.from(this.#options.token), 'server', hello.nonce, nonce, this.#options.node),
          );
          return;
        }
        const message = reader.decode(bytes);
        this.figures.received++;
        const heard = !this.#isCut(peer!) && !this.deaf.has(peer!) && !this.deaf.has('*');
        if (heard && message !== undefined) this.#options.heard(peer!, message);
      } catch (error) {
        this.#refuse(socket, error instanceof Error ? error.message : String(error));
      }
    });
    socket.send(Buffer.concat([Buffer.from([protocolVersion]), nonce]));
  }

  #checkHello(bytes: Buffer, serverNonce: Buffer): { peer: string; nonce: Buffer } {
    const nonce = Buffer.from(bytes.subarray(0, nonceBytes));
    const proof = bytes.subarray(nonceBytes, nonceBytes + 32);
    const peer = bytes.subarray(nonceBytes + 32).toString('utf8');
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(peer))
      throw new ClusterError('PROTOCOL', 'a hello without a node name');
    const expected = mac(
      Buffer.from(this.#options.token),
      'client',
      serverNonce,
      nonce,
      peer,
      this.#options.node,
    );
    if (!sameMac(proof, expected)) throw new ClusterError('UNAUTHORIZED', `${peer} does not know the token`);
    return { peer, nonce };
  }

  #refuse(socket: WebSocket, why: string): void {
    this.figures.refused++;
    this.#options.refused(why);
    socket.terminate();
  }

  close(): void {
    this.#closed = true;
    for (const { socket } of this.#dialled.values()) socket.terminate();
    for (const socket of this.#accepted) socket.terminate();
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
