/** A connection as the server of VNC uses it, whether it is TCP or a WebSocket. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';

export interface Wire {
  readonly peer: string;
  /** More waits to be sent than a viewer that keeps up has. */
  readonly isFull: boolean;
  write(bytes: Uint8Array): void;
  /** The next bytes, exactly so many; undefined when it ended before. What comes beyond them is kept, up to a bound. */
  take(count: number): Promise<Uint8Array | undefined>;
  /** From now on bytes are given as they come. */
  stream(receive: (bytes: Uint8Array) => void): void;
  closed(done: () => void): void;
  end(): void;
}

/** Before `stream`: who sends more than this ahead is no viewer. */
const maxAhead = 1024;
const fullBytes = 4 * 2 ** 20;
/** Time for what was written last to arrive. */
const lingerMs = 500;

class Inbox {
  #held = Buffer.alloc(0);
  #waiting: { count: number; give: (bytes: Uint8Array | undefined) => void } | undefined;
  #receive: ((bytes: Uint8Array) => void) | undefined;
  readonly #over: () => void;

  constructor(over: () => void) {
    this.#over = over;
  }

  put(bytes: Uint8Array): void {
    if (this.#receive !== undefined) {
      this.#receive(bytes);
      return;
    }
    if (this.#held.length + bytes.length > maxAhead) {
      this.#over();
      return;
    }
    this.#held = Buffer.concat([this.#held, bytes]);
    this.#give();
  }

  #give(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || this.#held.length < waiting.count) return;
    this.#waiting = undefined;
    const bytes = this.#held.subarray(0, waiting.count);
    this.#held = this.#held.subarray(waiting.count);
    waiting.give(bytes);
  }

  take(count: number): Promise<Uint8Array | undefined> {
    return new Promise((give) => {
      this.#waiting = { count, give };
      this.#give();
    });
  }

  stream(receive: (bytes: Uint8Array) => void): void {
    this.#receive = receive;
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    if (held.length > 0) receive(held);
  }

  end(): void {
    this.#waiting?.give(undefined);
    this.#waiting = undefined;
  }
}

export function socketWire(socket: Socket): Wire {
  const inbox = new Inbox(() => socket.destroy());
  const peer = socket.remoteAddress ?? 'an address that is gone';
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  socket.on('data', (bytes) => {
    inbox.put(bytes);
  });
  socket.on('close', () => {
    inbox.end();
  });
  return {
    peer,
    get isFull() {
      return socket.writableLength > fullBytes;
    },
    write: (bytes) => {
      if (socket.writable) socket.write(bytes);
    },
    take: (count) => (socket.destroyed ? Promise.resolve(undefined) : inbox.take(count)),
    stream: (receive) => {
      inbox.stream(receive);
    },
    closed: (done) => {
      socket.on('close', done);
    },
    end: () => {
      socket.end();
      setTimeout(() => socket.destroy(), lingerMs).unref();
    },
  };
}

export function webSocketWire(socket: WebSocket): Wire {
  const inbox = new Inbox(() => {
    socket.terminate();
  });
  socket.on('error', () => undefined);
  socket.on('message', (data) => {
    if (Buffer.isBuffer(data)) inbox.put(data);
  });
  socket.on('close', () => {
    inbox.end();
  });
  return {
    peer: 'a web page',
    get isFull() {
      return socket.bufferedAmount > fullBytes;
    },
    write: (bytes) => {
      if (socket.readyState === socket.OPEN) socket.send(bytes);
    },
    take: (count) => (socket.readyState === socket.OPEN ? inbox.take(count) : Promise.resolve(undefined)),
    stream: (receive) => {
      inbox.stream(receive);
    },
    closed: (done) => {
      socket.on('close', done);
    },
    end: () => {
      socket.close();
      setTimeout(() => {
        socket.terminate();
      }, lingerMs).unref();
    },
  };
}
