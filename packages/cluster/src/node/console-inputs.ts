/**
 * What is typed at the consoles of this node's VMs, numbered by byte in each console's session, and what is done before their screens,
 * numbered by event. A checkpoint says up to which byte of
 * each session its guest has, and so does its log, so whichever node resumes it knows where input goes on: a console sends again what no durable
 * checkpoint holds, what the guest's state holds already is left out, and so each byte reaches that state once, whatever
 * happened between.
 */
import type { InputResult, MachineInput } from '@revenant/emulator';
import type { DisplayEvent } from '../protocol/display.ts';
import { agentPort, type InputLedger, type InputPlaces, type TypedPlaces } from '../vm/input-ledger.ts';
import {
  maxSessions,
  maxUnacknowledgedBytes,
  maxUnacknowledgedEvents,
  maxUnacknowledgedMessages,
} from '../protocol/limits.ts';

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

/** Units of a session, as inputs of a machine. */
export interface Units {
  count: number;
  /** How many may be there that no durable checkpoint holds. */
  limit: number;
  /** From unit `from` on, and how many units of these there are up to each of them, it included. */
  inputs(from: number): { inputs: MachineInput[]; ends: number[] };
}

export function typedBytes(bytes: Uint8Array): Units {
  return {
    count: bytes.length,
    limit: maxUnacknowledgedBytes,
    inputs: (from) => ({
      inputs: [{ kind: 'serial', port: 0, bytes: bytes.subarray(from) }],
      ends: [bytes.length],
    }),
  };
}

export function doneEvents(events: readonly DisplayEvent[]): Units {
  return {
    count: events.length,
    limit: maxUnacknowledgedEvents,
    inputs: (from) => ({ inputs: events.slice(from), ends: events.map((_event, n) => n + 1).slice(from) }),
  };
}

/** Messages of a job to the agent in the guest, which takes each whole. */
export function agentMessages(messages: readonly Uint8Array[]): Units {
  return {
    count: messages.length,
    limit: maxUnacknowledgedMessages,
    inputs: (from) => ({
      inputs: messages.slice(from).map((bytes) => ({ kind: 'console', port: agentPort, bytes })),
      ends: messages.map((_message, n) => n + 1).slice(from),
    }),
  };
}

/**
 * Gives inputs to a VM's thread, in order up to the first for which it has no room, and tells how many it took. `typed`: how many units of the
 * session it has with each of them.
 */
export type Give = (
  vmId: string,
  inputs: readonly MachineInput[],
  typed: TypedPlaces,
) => Promise<number | 'elsewhere'>;

/** How many inputs a guest took of those that it was given in order. Undefined: its VM does not run here. */
export function takenOf(results: readonly InputResult[] | undefined): number | 'elsewhere' {
  if (results === undefined) return 'elsewhere';
  const full = results.indexOf('full');
  return full < 0 ? results.length : full;
}

export class ConsoleInputs implements InputLedger {
  readonly #vms = new Map<string, Vm>();
  readonly #listeners = new Map<string, Map<string, InputListener>>();
  readonly #give: Give;

  constructor(give: Give) {
    this.#give = give;
  }

  started(vmId: string, epoch: number, held: InputPlaces): void {
    const places = Object.entries(held).slice(-maxSessions);
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

  /** Units of a session from its unit `at` on. What was taken before is left out; a gap is answered by the place to go on from. */
  type(vmId: string, session: string, at: number, units: Units): Promise<Typed> {
    const vm = this.#vms.get(vmId);
    if (vm === undefined) return Promise.resolve('elsewhere');
    const typed = vm.chain.then(() => this.#typed(vm, { vmId, session, at, units }));
    vm.chain = typed.catch(() => undefined);
    return typed;
  }

  async #typed(
    vm: Vm,
    { vmId, session, at, units }: { vmId: string; session: string; at: number; units: Units },
  ): Promise<Typed> {
    if (this.#vms.get(vmId) !== vm) return 'elsewhere';
    const taken = vm.taken.get(session);
    if (taken === undefined || at > taken) {
      this.#tellPlace(vmId, session);
      return 'taken';
    }
    const known = Math.min(taken - at, units.count);
    if (at + units.count - (vm.durable.get(session) ?? 0) > units.limit) return 'full';
    const { inputs, ends } = known === units.count ? { inputs: [], ends: [] } : units.inputs(known);
    const places = ends.map((end) => at + end);
    const given = inputs.length === 0 ? 0 : await this.#give(vmId, inputs, { session, places });
    if (given === 'elsewhere') return given;
    const place = places[given - 1] ?? taken;
    this.#remember(vm, session, place);
    const listener = this.#listeners.get(vmId)?.get(session);
    listener?.acknowledged(place, vm.durable.get(session) ?? 0);
    return given < inputs.length ? 'full' : 'taken';
  }

  #remember(vm: Vm, session: string, taken: number): void {
    if (!vm.durable.has(session)) vm.durable.set(session, taken);
    vm.taken.delete(session);
    vm.taken.set(session, taken);
    for (const oldest of vm.taken.keys()) {
      if (vm.taken.size <= maxSessions) break;
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
