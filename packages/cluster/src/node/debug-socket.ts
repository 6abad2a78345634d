/** A debugger at a websocket: gdb's remote protocol, byte for byte in binary messages, to the VM that runs here. */
import type { WebSocket } from 'ws';
import { messageOf } from '../errors.ts';
import { watchLiveness } from '../liveness.ts';
import { bounded } from '../protocol/limits.ts';
import type { Caller } from '../protocol/page.ts';
import type { AttachedDebugger } from '../vm/session-debugger.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { closeProtocol } from './typing-socket.ts';

/** A debugger that does not read its answers asks no more. */
const maxBacklogBytes = 4 << 20;
/** RFC 6455, 7.4.1: this end is going away. */
const closeAway = 1001;

export function attachDebugger(
  node: ClusterNode,
  vmId: string,
  { socket, caller }: { socket: WebSocket; caller: Caller },
): void {
  let attached: AttachedDebugger | undefined;
  const early: Uint8Array[] = [];
  let isOver = false;
  const end = (code: number, reason: string): void => {
    isOver = true;
    socket.close(code, bounded(reason, 100));
  };
  const open = async (): Promise<void> => {
    requireRole(caller, 'operate', 'to debug a machine');
    attached = await node.vms.debug(vmId, {
      hear: (bytes) => {
        if (socket.bufferedAmount > maxBacklogBytes) return socket.terminate();
        socket.send(bytes);
      },
      over: (reason) => end(closeAway, reason),
    });
    if (isOver) return attached.end();
    node.audit.note(caller, 'debugs its machine', { vm: vmId });
    for (const bytes of early.splice(0)) attached.send(bytes);
  };
  watchLiveness(socket);
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isOver = true;
    attached?.end();
  });
  socket.on('message', (data) => {
    // Websockets of ws give whole messages as Buffers, unless asked otherwise.
    if (!Buffer.isBuffer(data) || isOver) return;
    if (attached !== undefined) return attached.send(data);
    // A debugger says one thing before it hears anything.
    if (early.push(data) > 16) end(closeProtocol, 'it does not wait for its answers');
  });
  open().catch((error: unknown) => end(closeProtocol, messageOf(error)));
}
