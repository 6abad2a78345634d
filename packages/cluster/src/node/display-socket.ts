/** One viewer of a VM's screen at a websocket (protocol/display.ts): the next frame when it asks for one, and what is done before it. */
import type { WebSocket } from 'ws';
import { messageOf } from '../errors.ts';
import { decodeDisplayRequest, type DisplayReply, type DisplayRequest } from '../protocol/display.ts';
import { bounded } from '../protocol/limits.ts';
import { encode } from '../protocol/msgpack.ts';
import type { Caller } from '../protocol/page.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { doneEvents } from './console-inputs.ts';
import { closeProtocol, lookMs, TypingSocket } from './typing-socket.ts';
import { owned } from '../owned.ts';

export function attachDisplay(
  node: ClusterNode,
  vmId: string,
  { socket, caller }: { socket: WebSocket; caller: Caller },
): void {
  // At most one frame is on its way, as each is asked for; what else is said is small.
  const send = (reply: DisplayReply): void => socket.send(encode(reply));
  const refuse = (error: unknown): void => socket.close(closeProtocol, bounded(messageOf(error), 100));
  const typing = new TypingSocket(node, vmId, send);
  const screen = node.displays.watch(vmId);
  const serve = async (request: DisplayRequest): Promise<void> => {
    if (request.type === 'look') return screen.look(send);
    requireRole(caller, 'operate', 'to use keys and pointer');
    node.audit.noteSometimes(caller, 'uses keys and pointer', { vm: vmId });
    if (request.type === 'open') return typing.open(request.session, request.from);
    if (!(await typing.type(request.at, doneEvents(request.events))))
      socket.close(closeProtocol, 'act before open');
  };
  const timer = setInterval(
    owned(() => typing.tellState(), refuse),
    lookMs,
  );
  socket.on('error', () => undefined);
  socket.on('close', () => {
    clearInterval(timer);
    screen.end();
    typing.end();
  });
  socket.on('message', (data) => {
    // Websockets of ws give whole messages as Buffers, unless asked otherwise.
    if (!Buffer.isBuffer(data)) return;
    try {
      serve(decodeDisplayRequest(data)).catch(refuse);
    } catch (error) {
      refuse(error);
    }
  });
  typing.tellState();
}
