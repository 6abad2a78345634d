/**
 * The display of a guest for people's viewers: VNC over TCP, and over WebSockets for viewers that are web pages. It shows what it is told to (`show`), and
 * gives back what people do (`takeInputs`).
 *
 * A stranger costs little: a connection that is not let in within seconds ends, there are only so many of them, none has more than one small buffer, and each
 * wrong password makes the next answer wait longer.
 */
import { randomBytes } from 'node:crypto';
import { createServer as createWebServer, type Server as WebServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocketServer } from 'ws';
import type { MachineInput, Picture } from '@revenant/emulator';
import { Handshake } from './handshake.ts';
import { ViewerError } from './requests.ts';
import { challengeBytes } from './rfb.ts';
import { socketWire, webSocketWire, type Wire } from './wire.ts';
import { findScroll } from './scroll.ts';
import { Session, type Frame } from './session.ts';

export interface VncPlace {
  host: string;
  port: number;
}

export interface VncOptions {
  place: VncPlace;
  /** For viewers that are web pages. */
  web?: VncPlace | undefined;
  /** At most eight bytes; without one everybody who reaches the port is let in. */
  password?: Uint8Array | undefined;
  /** What viewers call it. */
  name: string;
  /** What the display shows, where that can be told at once. */
  look?(): Pick<Frame, 'picture' | 'changed'> | undefined;
  /** The guest's pointer goes to the place that it is told (the input `tablet`). */
  takesTablet(): boolean;
  say(line: string): void;
  /** Somebody wants a picture, or did something. */
  wake(): void;
}

const maxViewers = 8;
const maxStrangers = 8;
const handshakeMs = 10_000;
/** A wrong password makes the next answers wait so long, for each one of the last minute. */
const wrongPasswordMs = 1000;
const maxWrong = 8;
const wrongForMs = 60_000;
const maxInputs = 4096;
const maxWebFrame = 65_536;

interface Viewer {
  wire: Wire;
  session: Session;
}

export class VncServer {
  readonly #options: VncOptions;
  readonly #servers: (Server | WebServer)[] = [];
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxWebFrame,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has('binary') && 'binary',
  });
  readonly #strangers = new Set<Wire>();
  readonly #viewers = new Set<Viewer>();
  readonly #wrong: number[] = [];
  #inputs: MachineInput[] = [];
  #picture: Picture = { width: 640, height: 480, rgba: new Uint8Array(640 * 480 * 4) };

  private constructor(options: VncOptions) {
    this.#options = options;
  }

  /** Rejects when a place can't be listened on. */
  static async listen(options: VncOptions): Promise<VncServer> {
    const vnc = new VncServer(options);
    const server = createServer((socket) => {
      vnc.#meet(socketWire(socket));
    });
    await vnc.#listen(server, options.place);
    if (options.web !== undefined)
      await vnc.#listen(vnc.#webServer(), options.web).catch(async (error: unknown) => {
        await vnc.close();
        throw error;
      });
    return vnc;
  }

  async #listen(server: Server | WebServer, { host, port }: VncPlace): Promise<void> {
    server.maxConnections = maxViewers + maxStrangers;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, resolve);
    });
    this.#servers.push(server);
  }

  #webServer(): WebServer {
    const server = createWebServer({ maxHeaderSize: 8192 }, (_request, response) => {
      response.writeHead(426, { connection: 'close' }).end('only WebSockets are answered here\n');
    });
    server.headersTimeout = handshakeMs;
    return server.on('upgrade', (request, socket, head) => {
      this.#sockets.handleUpgrade(request, socket, head, (accepted) => {
        this.#meet(webSocketWire(accepted));
      });
    });
  }

  /** Where it listens, VNC first. */
  get addresses(): string[] {
    return this.#servers.map((server) => {
      const { address, port, family } = server.address() as AddressInfo;
      return family === 'IPv6' ? `[${address}]:${String(port)}` : `${address}:${String(port)}`;
    });
  }

  #meet(wire: Wire): void {
    if (this.#strangers.size >= maxStrangers || this.#viewers.size >= maxViewers) {
      wire.end();
      return;
    }
    this.#strangers.add(wire);
    const { password } = this.#options;
    const handshake = new Handshake(password, randomBytes(challengeBytes));
    const tooLong = setTimeout(() => {
      wire.end();
    }, handshakeMs);
    wire.closed(() => {
      clearTimeout(tooLong);
      this.#strangers.delete(wire);
    });
    wire.write(Handshake.greeting);
    this.#letIn(wire, handshake).then(
      (isIn) => {
        clearTimeout(tooLong);
        if (isIn && this.#strangers.delete(wire)) this.#welcome(wire);
        else wire.end();
      },
      () => {
        wire.end();
      },
    );
  }

  async #letIn(wire: Wire, handshake: Handshake): Promise<boolean> {
    for (;;) {
      const bytes = await wire.take(handshake.wanted);
      if (bytes === undefined) return false;
      const isAnswer = handshake.wanted === challengeBytes;
      if (isAnswer) await sleep(this.#penaltyMs());
      const step = handshake.take(bytes);
      if (step.kind === 'wait') continue;
      wire.write(step.bytes);
      if (step.kind === 'welcome') return true;
      if (step.kind === 'refuse') {
        if (isAnswer) this.#wrong.push(performance.now());
        this.#options.say(`a viewer at ${wire.peer} was refused: ${step.why}`);
        return false;
      }
    }
  }

  #penaltyMs(): number {
    const since = performance.now() - wrongForMs;
    while (this.#wrong.length > maxWrong || (this.#wrong[0] ?? Infinity) < since) this.#wrong.shift();
    return this.#wrong.length * wrongPasswordMs;
  }

  #welcome(wire: Wire): void {
    const now = this.#options.look?.();
    if (now !== undefined) this.show(now);
    const session = new Session(
      {
        send: (bytes) => {
          wire.write(bytes);
        },
        input: (input) => {
          if (this.#inputs.length < maxInputs) this.#inputs.push(input);
        },
        takesTablet: () => this.#options.takesTablet(),
      },
      this.#picture,
    );
    const viewer = { wire, session };
    this.#viewers.add(viewer);
    wire.closed(() => {
      if (!this.#viewers.delete(viewer)) return;
      session.end();
      this.#options.wake();
    });
    wire.stream((bytes) => {
      try {
        session.receive(bytes, this.#options.name);
      } catch (error) {
        if (!(error instanceof ViewerError)) throw error;
        this.#options.say(`a viewer at ${wire.peer} was cut off: ${error.message}`);
        wire.end();
      }
      this.#options.wake();
    });
  }

  /** Somebody waits for a picture whose line is free. */
  get isWatched(): boolean {
    for (const { session, wire } of this.#viewers) if (session.waits && !wire.isFull) return true;
    return false;
  }

  /** The display now, and what changed since the last call. */
  show({ picture, changed }: Pick<Frame, 'picture' | 'changed'>): void {
    const before = this.#picture;
    this.#picture = picture;
    const scroll = changed.length > 1 && covers(changed, picture) ? findScroll(before, picture) : undefined;
    for (const { session, wire } of this.#viewers) session.show({ picture, changed, scroll }, !wire.isFull);
  }

  takeInputs(): MachineInput[] {
    const inputs = this.#inputs;
    this.#inputs = [];
    return inputs;
  }

  async close(): Promise<void> {
    for (const wire of [...this.#strangers, ...Array.from(this.#viewers, (viewer) => viewer.wire)])
      wire.end();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** So much of the picture changed that it may have scrolled. */
function covers(changed: Frame['changed'], { width, height }: Picture): boolean {
  return changed.reduce((sum, area) => sum + area.width * area.height, 0) > (width * height) / 4;
}
