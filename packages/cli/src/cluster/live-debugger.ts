/** A TCP port behind which a debugger finds a VM of the cluster, wherever it runs just then. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { ClusterClient } from '@revenant/cluster/client';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { say } from '../output/print.ts';

export interface LiveDebuggerOptions {
  listen: { host: string; port: number };
  /** Ends when the first debugger has gone. */
  once: boolean;
}

/** Waits for debuggers until a signal ends it. Throws CliError when it can't listen there. */
export async function serveLiveDebugger(
  client: ClusterClient,
  vmId: string,
  { listen, once }: LiveDebuggerOptions,
): Promise<void> {
  const server = createServer();
  await listening(server, listen);
  const { port } = server.address() as AddressInfo;
  say(`waiting for a debugger: target remote ${listen.host}:${port}`);
  const sockets = new Set<Socket>();
  const first = new Promise<void>((resolve) => {
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      void converse(client, vmId, socket).then(() => {
        sockets.delete(socket);
        if (once) resolve();
      });
    });
  });
  const told = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        resolve();
      });
  });
  await Promise.race([first, told]);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
}

async function listening(server: Server, { host, port }: LiveDebuggerOptions['listen']): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    throw new CliError(
      ExitCode.usage,
      `--listen: can't listen on ${host}:${port}: ${messageOf(error)}`,
      'choose another port, for example --listen 127.0.0.1:0 for any that is free',
      error,
    );
  }
}

/** One debugger, from its connection to its end. */
async function converse(client: ClusterClient, vmId: string, socket: Socket): Promise<void> {
  socket.setNoDelay(true);
  const gone = new Promise<void>((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
  socket.on('error', () => undefined);
  socket.pause();
  try {
    const link = await client.debug(vmId, {
      hear: (bytes) => {
        socket.write(bytes);
      },
      over: (reason) => {
        if (!socket.destroyed) say(`the debugger is cut off: ${reason}`);
        socket.destroy();
      },
    });
    socket.on('data', (bytes) => {
      link.send(bytes);
    });
    say(`a debugger is at ${vmId}`);
    socket.resume();
    await gone;
    link.close();
    say('the debugger is gone; the guest runs on');
  } catch (error) {
    say(messageOf(error));
    socket.destroy();
  }
}
