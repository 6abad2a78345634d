/**
 * Follows the console of a VM from node to node. What is typed is kept until a durable checkpoint holds it, and sent again to whichever
 * node runs the VM next, from the byte on that its state does not have.
 */
import { randomUUID } from 'node:crypto';
import { TypedInput } from '../protocol/console-ends.ts';
import { ConsoleRelay } from './console-relay.ts';
import type { VmPlace } from './vm-relay.ts';

interface FollowerOptions {
  heard: (bytes: Uint8Array, epoch: number) => void;
  /** What people should know about what they typed and heard, a line at a time. */
  said: (line: string) => void;
  find: () => Promise<VmPlace | undefined>;
}

export class ConsoleFollower {
  readonly #input: TypedInput;
  readonly #relay: ConsoleRelay;
  #closed = false;

  constructor({ heard, said, find }: FollowerOptions) {
    this.#input = new TypedInput({
      session: randomUUID(),
      post: (request) => this.#relay.post(request),
      said,
    });
    this.#relay = new ConsoleRelay({
      find,
      heard: ({ bytes, epoch }) => heard(bytes, epoch),
      attached: () => this.#input.attached(),
      heardOfInput: (reply) => this.#input.heard(reply),
      said,
    });
  }

  /** Types bytes at the guest. False when too much waits already: nothing of these is kept, try again later. */
  write(bytes: Uint8Array): boolean {
    return !this.#closed && this.#input.write(bytes);
  }

  /** Bytes typed that no durable checkpoint is known to hold. */
  get unacknowledged(): number {
    return this.#input.unacknowledged;
  }

  close(): void {
    this.#closed = true;
    this.#input.detached();
    this.#relay.close();
  }
}
