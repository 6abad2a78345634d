/** A TCP port behind which the real gdb finds a VM of a host in this process. */
import { createServer, type AddressInfo } from 'node:net';
import type { VmHost } from '../src/vm/vm-host.ts';

export interface DebugPort {
  port: number;
  /** Why debuggers were refused or cut off. */
  said: string[];
  close(): void;
}

export async function debugPort(host: VmHost, vmId: string): Promise<DebugPort> {
  const said: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pause();
    host
      .debug(vmId, {
        hear: (bytes) => void socket.write(bytes),
        over: (reason) => {
          said.push(reason);
          socket.destroy();
        },
      })
      .then(
        (attached) => {
          socket.on('close', () => attached.end());
          socket.on('data', (bytes) => attached.send(bytes));
          socket.resume();
        },
        (error: unknown) => {
          said.push(String(error));
          socket.destroy();
        },
      );
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return { port: (server.address() as AddressInfo).port, said, close: () => void server.close() };
}
