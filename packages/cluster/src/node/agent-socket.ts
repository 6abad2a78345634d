/** One job of the agent in a VM's guest, at a websocket (protocol/agent-socket.ts). */
import type { WebSocket } from 'ws';
import { ClusterError, messageOf } from '../errors.ts';
import { agentRequestAt, encodeAgentReply } from '../protocol/agent.ts';
import { decodeJobRequest, type JobReply } from '../protocol/agent-socket.ts';
import { bounded } from '../protocol/limits.ts';
import { encode } from '../protocol/msgpack.ts';
import type { Caller } from '../protocol/page.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { agentMessages } from './console-inputs.ts';
import { closeProtocol, lookMs, TypingSocket } from './typing-socket.ts';
import { owned } from '../owned.ts';

/** Who does not read what the agent says is cut off; the agent says it again to who comes then. */
const maxBacklogBytes = 4 << 20;

/** Throws `PROTOCOL` for what is not one whole message of a job: what follows it on the channel is another's. */
function requireMessage(job: string, bytes: Uint8Array): void {
  const found = agentRequestAt(bytes);
  if (found?.job !== job || found.length !== bytes.length)
    throw new ClusterError('PROTOCOL', `not one message of job ${job}`);
}

export function attachJob(
  node: ClusterNode,
  vmId: string,
  { socket, caller, job }: { socket: WebSocket; caller: Caller; job: string },
): void {
  const send = (reply: JobReply): void => {
    if (socket.bufferedAmount > maxBacklogBytes) return socket.terminate();
    socket.send(encode(reply));
  };
  const refuse = (error: unknown): void => socket.close(closeProtocol, bounded(messageOf(error), 100));
  const typing = new TypingSocket(node, vmId, send);
  const endListening = node.agents.listen(vmId, job, (epoch, reply) =>
    send({ type: 'said', epoch, bytes: encodeAgentReply(reply) }),
  );
  const timer = setInterval(
    owned(() => typing.tellState(), refuse),
    lookMs,
  );
  const serve = async (frame: Uint8Array): Promise<void> => {
    const request = decodeJobRequest(frame);
    requireRole(caller, 'operate', 'to run commands in a guest');
    node.audit.noteSometimes(caller, 'runs commands in the guest', { vm: vmId });
    if (request.type === 'open') return typing.open(request.session, request.from);
    for (const message of request.messages) requireMessage(job, message);
    if (!(await typing.type(request.at, agentMessages(request.messages))))
      socket.close(closeProtocol, 'messages before open');
  };
  socket.on('error', () => undefined);
  socket.on('close', () => {
    clearInterval(timer);
    endListening();
    typing.end();
  });
  socket.on('message', (data) => {
    // Websockets of ws give whole messages as Buffers, unless asked otherwise.
    if (Buffer.isBuffer(data)) serve(data).catch(refuse);
  });
  typing.tellState();
}
