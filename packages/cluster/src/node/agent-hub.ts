/**
 * What the agents in this node's guests say, to those who listen for a job's (protocol/agent.ts). Nothing is kept: whoever begins to listen
 * asks the agent to say again what was not heard.
 */
import { AgentReplies, type AgentReply } from '../protocol/agent.ts';

type Listener = (epoch: number, reply: AgentReply) => void;

export class AgentHub {
  readonly #reading = new Map<string, { epoch: number; replies: AgentReplies }>();
  /** By VM and job. */
  readonly #listeners = new Map<string, Set<Listener>>();

  /** A VM begins an epoch here: half a message of another life is none. */
  begin(vmId: string, epoch: number): void {
    this.#reading.set(vmId, { epoch, replies: new AgentReplies() });
  }

  put(vmId: string, epoch: number, bytes: Uint8Array): void {
    const reading = this.#reading.get(vmId);
    if (reading?.epoch !== epoch) return;
    for (const reply of reading.replies.read(bytes))
      for (const listener of this.#listeners.get(`${vmId} ${reply.job}`) ?? []) listener(epoch, reply);
  }

  /** Gives a function that ends it. */
  listen(vmId: string, job: string, listener: Listener): () => void {
    const name = `${vmId} ${job}`;
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(name);
    };
  }
}
