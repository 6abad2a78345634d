/** One console: output of a VM to a websocket, and what is typed there to the VM (protocol/console.ts). */
import type { WebSocket } from 'ws';
import { messageOf } from '../errors.ts';
import { decodeConsoleRequest, type ConsoleReply } from '../protocol/console.ts';
import { bounded, maxConsoleBytes } from '../protocol/limits.ts';
import { encode } from '../protocol/msgpack.ts';
import type { Caller } from '../protocol/page.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { typedBytes } from './console-inputs.ts';
import { closeProtocol, lookMs, TypingSocket } from './typing-socket.ts';
import { owned } from '../owned.ts';

/** A console that does not read what it is sent is cut off; it comes again and goes on where it was. */
const maxBacklogBytes = 4 << 20;

export function attachConsole(
  node: ClusterNode,
  vmId: string,
  { socket, caller }: { socket: WebSocket; caller: Caller },
): void {
  const send = (reply: ConsoleReply): void => {
    if (socket.bufferedAmount > maxBacklogBytes) return socket.terminate();
    socket.send(encode(reply));
  };
  const refuse = (error: unknown): void => socket.close(closeProtocol, bounded(messageOf(error), 100));
  const typing = new TypingSocket(node, vmId, send);
  const endOutput = node.consoles.listen(vmId, ({ epoch, resumed, at, bytes }) => {
    for (let from = 0; from < bytes.length; from += maxConsoleBytes) {
      const part = bytes.subarray(from, from + maxConsoleBytes);
      send({ type: 'output', epoch, resumed, at: at + from, bytes: part });
    }
  });
  const timer = setInterval(
    owned(() => typing.tellState(), refuse),
    lookMs,
  );
  const serve = async (frame: Uint8Array): Promise<void> => {
    const request = decodeConsoleRequest(frame);
    requireRole(caller, 'operate', 'to type at a console');
    node.audit.noteSometimes(caller, 'types at the console', { vm: vmId });
    if (request.type === 'open') return typing.open(request.session, request.from);
    if (!(await typing.type(request.at, typedBytes(request.bytes))))
      socket.close(closeProtocol, 'input before open');
  };
  socket.on('error', () => undefined);
  socket.on('close', () => {
    clearInterval(timer);
    endOutput();
    typing.end();
  });
  socket.on('message', (data) => {
    // Websockets of ws give whole messages as Buffers, unless asked otherwise.
    if (Buffer.isBuffer(data)) serve(data).catch(refuse);
  });
  typing.tellState();
}
