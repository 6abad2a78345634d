// One console: output of a VM to a websocket, and what is typed there to the VM (protocol/console.ts).
import type { WebSocket } from 'ws';
import { messageOf } from '../errors.ts';
import { decodeConsoleRequest, type ConsoleReply } from '../protocol/console.ts';
import { bounded, MAX_CONSOLE_BYTES } from '../protocol/limits.ts';
import { encode } from '../protocol/msgpack.ts';
import type { Caller } from '../protocol/page.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';

/** A console that does not read what it is sent is cut off; it comes again and goes on where it was. */
const MAX_BACKLOG_BYTES = 4 << 20;
/** How often it is looked whether the VM takes input. */
const LOOK_MS = 200;
/** Websocket close codes of ours (RFC 6455, 7.4.2). */
const CLOSE_PROTOCOL = 4400;

export function attachConsole(
  node: ClusterNode,
  vmId: string,
  { socket, caller }: { socket: WebSocket; caller: Caller },
): void {
  const send = (reply: ConsoleReply): void => {
    if (socket.bufferedAmount > MAX_BACKLOG_BYTES) return socket.terminate();
    socket.send(encode(reply));
  };
  let told: string | undefined;
  const tellState = (): void => {
    const reason = bounded(node.inputTrouble(vmId) ?? '');
    if (reason !== told) send({ type: 'state', takes: reason === '', reason });
    told = reason;
  };
  const endOutput = node.consoles.listen(vmId, ({ epoch, resumed, at, bytes }) => {
    for (let from = 0; from < bytes.length; from += MAX_CONSOLE_BYTES) {
      const part = bytes.subarray(from, from + MAX_CONSOLE_BYTES);
      send({ type: 'output', epoch, resumed, at: at + from, bytes: part });
    }
  });
  const timer = setInterval(tellState, LOOK_MS);
  let session: string | undefined;
  let endInput = (): void => undefined;
  const serve = async (frame: Uint8Array): Promise<void> => {
    const request = decodeConsoleRequest(frame);
    requireRole(caller, 'operate', 'to type at a console');
    node.audit.noteSometimes(caller, 'types at the console', { vm: vmId });
    if (request.type === 'open') {
      endInput();
      session = request.session;
      endInput = node.inputs.open(vmId, session, request.from, {
        place: (place) => send({ type: 'place', ...place }),
        acknowledged: (taken, durable) => send({ type: 'acknowledged', taken, durable }),
      });
      return tellState();
    }
    if (session === undefined) return socket.close(CLOSE_PROTOCOL, 'input before open');
    if (node.inputTrouble(vmId) === undefined) {
      const typed = await node.inputs.type(vmId, session, request.at, request.bytes);
      if (typed === 'taken') return;
      told = undefined;
      if (typed === 'full')
        return send({
          type: 'state',
          takes: false,
          reason: 'too much waits for the guest, or for a checkpoint',
        });
    }
    tellState();
  };
  socket.on('error', () => undefined);
  socket.on('close', () => {
    clearInterval(timer);
    endOutput();
    endInput();
  });
  socket.on('message', (data) => {
    // Websockets of ws give whole messages as Buffers, unless asked otherwise.
    if (Buffer.isBuffer(data))
      serve(data).catch((error: unknown) => socket.close(CLOSE_PROTOCOL, bounded(messageOf(error), 100)));
  });
  tellState();
}
