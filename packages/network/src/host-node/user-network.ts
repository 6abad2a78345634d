/** A network of its own for guests of this process: a gateway with the host's sockets behind it. No privilege, nothing to install. */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { GatewayEffect, GatewayEvent } from '../gateway/events.ts';
import { FrameBuffers } from '../gateway/frame-buffers.ts';
import { handle, nextTimer } from '../gateway/gateway.ts';
import { rollBack } from '../gateway/roll-back.ts';
import { whySettingsAreWrong, type Forward, type GatewaySettings } from '../gateway/settings.ts';
import { newGatewayState, type GatewayState } from '../gateway/state.ts';
import { HostSockets } from './host-sockets.ts';

/** More than this of what sockets said does not wait for `settle`: a connection is asked to pause before it has sent more than it may. */
const maxGatheredBytes = 0x4_0000;

export interface NetworkPort {
  /** Frames that the guest sent, in order. */
  send(frames: readonly Uint8Array[]): void;
  close(): Promise<void>;
}

export class UserNetwork implements NetworkPort {
  readonly settings: GatewaySettings;
  readonly state: GatewayState;
  readonly #toGuest: (frame: Uint8Array) => void;
  readonly #sockets: HostSockets;
  readonly #arrived: (() => void) | undefined;
  readonly #failed: ((error: unknown) => void) | undefined;
  readonly #buffers = new FrameBuffers();
  #gathered: GatewayEvent[] = [];
  #gatheredBytes = 0;
  #timer: { atMs: number; handle: NodeJS.Timeout } | undefined;
  #closed = false;

  /**
   * `arrived`: bytes that connections bring are gathered until the owner, who is told of them by this, calls `settle`. So what comes together
   * leaves in as few segments as it fits in. Without it nothing waits. `failed`: what goes wrong when a timer rings or a socket has something,
   * is told to it; else it is thrown where nobody catches.
   */
  constructor(
    settings: GatewaySettings,
    toGuest: (frame: Uint8Array) => void,
    { arrived, failed }: { arrived?: () => void; failed?: (error: unknown) => void } = {},
  ) {
    const wrong = whySettingsAreWrong(settings);
    if (wrong !== undefined) throw new RangeError(wrong);
    this.settings = { ...settings };
    const secret = randomBytes(16);
    this.state = newGatewayState([0, 4, 8, 12].map((at) => secret.readUInt32LE(at)));
    this.#toGuest = toGuest;
    this.#arrived = arrived;
    this.#failed = failed;
    this.#sockets = new HostSockets((event) => {
      this.#outside(() => this.#heard(event));
    }, this.#buffers);
  }

  /** What sockets and timers start, and nobody waits for. */
  #outside(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (this.#failed === undefined) throw error;
      this.#failed(error);
    }
  }

  #heard(event: GatewayEvent): void {
    if (this.#arrived === undefined || event.kind !== 'tcpReceived') {
      this.settle();
      this.#happen([event]);
      return;
    }
    this.#gathered.push(event);
    this.#gatheredBytes += event.data.length;
    if (this.#gatheredBytes >= maxGatheredBytes) this.settle();
    this.#arrived();
  }

  /** Lets happen what was gathered. */
  settle(): void {
    if (this.#gathered.length === 0) return;
    this.#gatheredBytes = 0;
    this.#happen(this.#gathered.splice(0));
  }

  /** Opens the forwards; returns their ports in order. Throws ForwardError for one that can't be had. */
  async open(): Promise<number[]> {
    const ports: number[] = [];
    try {
      for (const [number, forward] of this.settings.forwards.entries())
        if (forward !== undefined) ports.push(await this.#sockets.listen(number, forward));
    } catch (error) {
      await this.close();
      throw error;
    }
    return ports;
  }

  /**
   * Opens one more forward; resolves to its number and its port.
   * @throws ForwardError when the port can't be had
   */
  async publish(forward: Forward): Promise<{ number: number; port: number }> {
    const { forwards } = this.settings;
    const free = forwards.indexOf(undefined);
    const number = free < 0 ? forwards.length : free;
    this.settings.forwards = forwards.toSpliced(number, 1, forward);
    try {
      return { number, port: await this.#sockets.listen(number, forward) };
    } catch (error) {
      this.settings.forwards = this.settings.forwards.toSpliced(number, 1, undefined);
      throw error;
    }
  }

  /** Takes a forward back. Connections that entered by it go on. */
  withdraw(number: number): void {
    this.settings.forwards = this.settings.forwards.toSpliced(number, 1, undefined);
    for (const [key, visitor] of this.state.visitors) {
      if (visitor.forward !== number) continue;
      this.state.visitors.delete(key);
      this.state.visitorsByPort.delete(visitor.gatewayPort);
    }
    this.#sockets.unlisten(number);
  }

  /** A guest goes on from an earlier moment (`rollBack`); how many connections ended. */
  rollBack(guestAddress: number, resumedAt: number): number {
    if (this.#closed) return 0;
    const moment = { settings: this.settings, state: this.state, nowMs: performance.now() };
    const { effects, ended } = rollBack(moment, guestAddress, resumedAt);
    this.#perform(effects);
    return ended;
  }

  /** What the guest's card takes at most, which its driver decides. */
  set frameBytes(bytes: number) {
    this.settings.frameBytes = bytes;
  }

  send(frames: readonly Uint8Array[]): void {
    this.#happen(frames.map((frame) => ({ kind: 'frame', frame })));
  }

  /** A frame that `toGuest` was given is done with: its memory is used again. Whoever keeps a frame doesn't say so. */
  done(frame: Uint8Array): void {
    this.#buffers.give(frame);
  }

  /** As `send`, with the instruction counts of the guests that sent the frames. */
  receive(frames: readonly { frame: Uint8Array; sentAt: number }[]): void {
    this.#happen(frames.map((each) => ({ kind: 'frame', ...each })));
  }

  #happen(events: readonly GatewayEvent[]): void {
    if (!this.#closed)
      this.#perform(handle(this.settings, this.state, events, performance.now(), this.#buffers));
  }

  #perform(effects: readonly GatewayEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'frame') this.#toGuest(effect.frame);
      else this.#sockets.perform(effect);
    }
    this.#setTimer();
  }

  #setTimer(): void {
    const atMs = nextTimer(this.state);
    if (this.#timer !== undefined && this.#timer.atMs <= atMs) return;
    clearTimeout(this.#timer?.handle);
    this.#timer = undefined;
    if (atMs === Infinity) return;
    const delayMs = Math.max(Math.ceil(atMs - performance.now()), 0);
    const handleOfTimer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#outside(() => this.#happen([{ kind: 'tick' }]));
      },
      Math.min(delayMs, 2 ** 31 - 1),
    );
    handleOfTimer.unref();
    this.#timer = { atMs, handle: handleOfTimer };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer?.handle);
    await this.#sockets.close();
  }
}
