// What is typed at the consoles of this node's VMs, numbered by byte in each console's session. A checkpoint says up to which byte of
// each session its guest has, and so does its log, so whichever node resumes it knows where input goes on: a console sends again what no durable
// checkpoint holds, what the guest's state holds already is left out, and so each byte reaches that state once, whatever
// happened between.
import type { InputLedger, InputPlaces } from '../vm/input-ledger.ts';
import { MAX_SESSIONS, MAX_UNACKNOWLEDGED_BYTES } from '../protocol/limits.ts';

export interface InputListener {
  /** Where this session's input goes on under a new epoch. */
  place(place: { epoch: number; at: number; durable: number; known: boolean }): void;
  acknowledged(taken: number, durable: number): void;
}

interface Vm {
  /** What its thread is given and asked, one after the other. */
  chain: Promise<unknown>;
  epoch: number;
  /** In the order in which they last typed: the one that typed longest ago is forgotten first. */
  taken: Map<string, number>;
  durable: Map<string, number>;
}

/** What was made of bytes that a console sent. */
export type Typed = 'taken' | 'elsewhere' | 'full';

/** Gives bytes to a VM's thread, and tells what it made of them. `at`: how many bytes of the session it has with them. */
export type Give = (
  vmId: string,
  bytes: Uint8Array,
  typed: { session: string; at: number },
) => Promise<Typed>;

export class ConsoleInputs implements InputLedger {
  readonly #vms = new Map<string, Vm>();
  readonly #listeners = new Map<string, Map<string, InputListener>>();
  readonly #give: Give;

  constructor(give: Give) {
    this.#give = give;
  }

  started(vmId: string, epoch: number, held: InputPlaces): void {
    const places = Object.entries(held).slice(-MAX_SESSIONS);
    this.#vms.set(vmId, {
      chain: Promise.resolve(),
      epoch,
      taken: new Map(places),
      durable: new Map(places),
    });
    for (const session of this.#listeners.get(vmId)?.keys() ?? []) this.#tellPlace(vmId, session);
  }

  ended(vmId: string, epoch: number): void {
    if (this.#vms.get(vmId)?.epoch === epoch) this.#vms.delete(vmId);
  }

  cut<T>(vmId: string, epoch: number, ask: (places: InputPlaces) => Promise<T>): Promise<T> {
    const vm = this.#vms.get(vmId);
    if (vm?.epoch !== epoch) return ask({});
    // What is asked comes to the thread before whatever is typed from then on; its answer is not waited for here.
    return new Promise((resolve, reject) => {
      vm.chain = vm.chain.then(() => void ask(Object.fromEntries(vm.taken)).then(resolve, reject));
    });
  }

  durable(vmId: string, epoch: number, places: InputPlaces): void {
    const vm = this.#vms.get(vmId);
    if (vm?.epoch !== epoch) return;
    for (const [session, at] of Object.entries(places)) {
      if ((vm.durable.get(session) ?? 0) >= at) continue;
      vm.durable.set(session, at);
      this.#listeners
        .get(vmId)
        ?.get(session)
        ?.acknowledged(vm.taken.get(session) ?? at, at);
    }
  }

  /**
   * A console opens; a session has one console, the newest. `from`: the first byte that it could send again, where a session
   * begins that this VM does not know. Gives a function that ends it.
   */
  open(vmId: string, session: string, from: number, listener: InputListener): () => void {
    const vm = this.#vms.get(vmId);
    const known = vm?.taken.has(session) ?? false;
    const listeners = this.#listeners.get(vmId) ?? new Map<string, InputListener>();
    this.#listeners.set(vmId, listeners.set(session, listener));
    if (vm !== undefined && !known) this.#remember(vm, session, from);
    this.#tellPlace(vmId, session, known);
    return () => {
      if (listeners.get(session) === listener) listeners.delete(session);
      if (listeners.size === 0 && this.#listeners.get(vmId) === listeners) this.#listeners.delete(vmId);
    };
  }

  /** Bytes of a session from its byte `at` on. What was taken before is left out; a gap is answered by the place to go on from. */
  type(vmId: string, session: string, at: number, bytes: Uint8Array): Promise<Typed> {
    const vm = this.#vms.get(vmId);
    if (vm === undefined) return Promise.resolve('elsewhere');
    const typed = vm.chain.then(() => this.#typed(vm, { vmId, session, at, bytes }));
    vm.chain = typed.catch(() => undefined);
    return typed;
  }

  async #typed(
    vm: Vm,
    { vmId, session, at, bytes }: { vmId: string; session: string; at: number; bytes: Uint8Array },
  ): Promise<Typed> {
    if (this.#vms.get(vmId) !== vm) return 'elsewhere';
    const taken = vm.taken.get(session);
    if (taken === undefined || at > taken) {
      this.#tellPlace(vmId, session);
      return 'taken';
    }
    const fresh = bytes.subarray(taken - at);
    if (taken + fresh.length - (vm.durable.get(session) ?? 0) > MAX_UNACKNOWLEDGED_BYTES) return 'full';
    const place = { session, at: taken + fresh.length };
    const result = fresh.length === 0 ? 'taken' : await this.#give(vmId, fresh, place);
    if (result !== 'taken') return result;
    this.#remember(vm, session, place.at);
    const listener = this.#listeners.get(vmId)?.get(session);
    listener?.acknowledged(taken + fresh.length, vm.durable.get(session) ?? 0);
    return 'taken';
  }

  #remember(vm: Vm, session: string, taken: number): void {
    if (!vm.durable.has(session)) vm.durable.set(session, taken);
    vm.taken.delete(session);
    vm.taken.set(session, taken);
    for (const oldest of vm.taken.keys()) {
      if (vm.taken.size <= MAX_SESSIONS) break;
      vm.taken.delete(oldest);
      vm.durable.delete(oldest);
    }
  }

  #tellPlace(vmId: string, session: string, known?: boolean): void {
    const vm = this.#vms.get(vmId);
    if (vm === undefined) return;
    const at = vm.taken.get(session);
    const durable = vm.durable.get(session) ?? 0;
    const listener = this.#listeners.get(vmId)?.get(session);
    listener?.place({ epoch: vm.epoch, at: at ?? 0, durable, known: known ?? at !== undefined });
  }
}
