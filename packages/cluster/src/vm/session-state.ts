/** Where a VM of a node is in its life there, and where it may go from each place. */
import { insist } from '@revenant/storage';

/**
 * `preparing`: another node runs the VM, and it is built here already. `starting`, `resuming`: its thread builds its guest, from its
 * kernel or from a checkpoint. `handing-over`, `ending`: its last state is made durable, for another node or for good.
 */
export type SessionState =
  'preparing' | 'starting' | 'resuming' | 'running' | 'handing-over' | 'ending' | 'ended';

const leads: Readonly<Record<SessionState, readonly SessionState[]>> = {
  preparing: [],
  starting: ['running', 'handing-over', 'ending', 'ended'],
  resuming: ['running', 'handing-over', 'ending', 'ended'],
  running: ['handing-over', 'ending', 'ended'],
  'handing-over': ['ending', 'ended'],
  ending: ['ending', 'handing-over', 'ended'],
  ended: ['ended'],
};

/** The state of one session. It begins as `starting` or `resuming`; what has ended never lives again. */
export class SessionLife {
  #state: SessionState;

  constructor(begins: 'starting' | 'resuming') {
    this.#state = begins;
  }

  get state(): SessionState {
    return this.#state;
  }

  enter(state: SessionState): void {
    insist(leads[this.#state].includes(state), `a session that is ${this.#state} would become ${state}`);
    this.#state = state;
  }
}
