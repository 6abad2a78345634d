/** A stub on a TCP port: one gdb at a time, one after the other, on the same machine. */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { GdbStub, type StubOptions } from '../gdb/stub.ts';

export interface ServeOptions extends Pick<StubOptions, 'target' | 'monitor' | 'file'> {
  host: string;
  /** 0: any that is free. */
  port: number;
  /** Asked for each connection: the mode of the processor decides, unless a person did. */
  arch: () => StubOptions['arch'];
  /** Told of what a person may want to know. */
  say?: (line: string) => void;
}

export interface GdbServer {
  readonly port: number;
  /** The next connection has ended. */
  ended(): Promise<void>;
  close(): Promise<void>;
}

/** Listens. Rejects with what the host says when it can't. */
export async function serveGdb(options: ServeOptions): Promise<GdbServer> {
  const { host, port, say = () => undefined } = options;
  let present: Socket | undefined;
  let waiting: (() => void)[] = [];
  /** A session before has to be over, and its breakpoints gone. */
  let before: Promise<void> = Promise.resolve();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (present !== undefined) {
      say('a second debugger is refused: one at a time');
      socket.destroy();
      return;
    }
    present = socket;
    socket.setNoDelay(true);
    say('a debugger is connected');
    const session = before.then(() => converse(socket, options));
    before = session.then(() => {
      present = undefined;
      say('the debugger is gone; the machine stands still');
      for (const each of waiting) each();
      waiting = [];
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    ended: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
      }),
    close: async () => {
      present?.destroy();
      await before;
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function converse(socket: Socket, { target, monitor, file, arch }: ServeOptions): Promise<void> {
  const stub = new GdbStub({
    target,
    monitor,
    ...(file && { file }),
    arch: arch(),
    send: (bytes) => {
      if (!socket.destroyed) socket.write(bytes);
    },
    close: () => {
      socket.end();
    },
    clock: () => performance.now(),
    breathe: () => nextTurn(),
  });
  socket.on('data', (bytes) => {
    stub.receive(bytes);
  });
  if (!socket.destroyed)
    await new Promise<void>((resolve) => {
      socket.once('close', () => {
        resolve();
      });
    });
  await stub.disconnected();
}
