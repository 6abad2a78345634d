/** A person who makes, stops, starts, moves and deletes VMs, at whatever node answers, and repeats a command until it does. */
import {
  commandStored,
  emptyList,
  isClusterError,
  protectedKey,
  type Command,
  type CommandAnswer,
  type OutputPolicy,
  type ProtectedList,
} from '@revenant/cluster';
import { Violation } from './checker.ts';
import type { World } from './world.ts';

const askAgainMs = 2500;
const throughStore = 0.15;
/** Whose road to the store it is. */
const person = 'person';

/** What does not fit is answered, but leaves no trace in the list; what needs nodes is not answered. */
function commandOrRefusal(...given: Parameters<typeof commandStored>): {
  list?: ProtectedList | undefined;
  answer?: CommandAnswer;
} {
  try {
    return commandStored(...given);
  } catch (error) {
    if (!isClusterError(error)) throw error;
    if (error.code === 'UNREACHABLE') return {};
    return { answer: { id: given[1].id, error: { code: error.code, message: error.message } } };
  }
}

interface Wish {
  id: string;
  command: Command;
  done: boolean;
  then: ((error: string | null) => void) | undefined;
}

export class Person {
  readonly #world: World;
  readonly #wishes = new Map<string, Wish>();
  /** What was last answered with success, per VM. */
  readonly desired = new Map<string, string>();
  #busy = new Set<string>();
  #ids = 0;

  constructor(world: World) {
    this.#world = world;
    world.drain = (node) => {
      this.ask({ type: 'drain', node });
      world.scheduler.after(world.edge.between(2000, 8000), () => this.ask({ type: 'undrain', node }));
    };
    world.onAnswer = ({ id, error }) => {
      const wish = this.#wishes.get(id);
      if (wish === undefined || wish.done) return;
      if (error?.code === 'NO_MASTER') return;
      wish.done = true;
      world.trace(`ANSWER ${id} ${error?.code ?? 'ok'}`);
      wish.then?.(error?.code ?? null);
    };
  }

  get open(): boolean {
    return [...this.#wishes.values()].some(({ done }) => !done);
  }

  ask(command: Command, then?: (error: string | null) => void): void {
    const wish: Wish = { id: `c${String(++this.#ids)}`, command, done: false, then };
    this.#wishes.set(wish.id, wish);
    this.#world.trace(`ASK ${wish.id} ${JSON.stringify({ ...command, spec: undefined })}`);
    this.#send(wish);
  }

  #send(wish: Wish): void {
    if (wish.done) return;
    const { random, nodes, scheduler } = this.#world;
    const node = random.pick([...nodes.values()]);
    if (random.chance(throughStore)) this.#store(wish);
    else node.local(() => node.handle({ type: 'command', id: wish.id, command: wish.command }));
    scheduler.after(askAgainMs, () => this.#send(wish));
  }

  /** Past the nodes, as one does when none answers: reads the list, and swaps it for one in which the command is done. */
  #store(wish: Wish): void {
    const { store, nodes } = this.#world;
    const { id, command } = wish;
    const hosts = [...nodes.keys()].map((node) => ({
      id: node,
      incarnation: 1,
      state: 'unreachable' as const,
      capacity: { memoryMiB: 0 },
      pressure: 'none' as const,
    }));
    store.operate(
      person,
      () => store.get<ProtectedList>(protectedKey),
      (read) => {
        if (!('ok' in read)) return;
        const { value, version } = read.ok ?? { value: emptyList(), version: undefined };
        const { list, answer } = commandOrRefusal(value, { id, command }, hosts);
        if (list === undefined) return answer && this.#world.answered(answer);
        store.operate(
          person,
          () => store.swap(protectedKey, list, version),
          (written) => {
            if ('ok' in written && written.ok !== undefined && answer) this.#world.answered(answer);
          },
        );
      },
    );
  }

  /** Makes some VMs and schedules wishes. */
  begin(untilMs: number): void {
    const { random, scheduler, balances } = this.#world;
    const count = random.integer(1, 4) + (balances ? 3 : 0);
    for (let i = 1; i <= count; i++) {
      const vmId = `vm${String(i)}`;
      const spec = {
        runtime: 'chain',
        description: {},
        memoryMiB: 512,
        priority: random.integer(0, 3),
        ...this.#outputs(),
        ...(random.chance(0.3) ? { antiAffinity: 'group' } : {}),
      };
      this.#change(vmId, 'running', { type: 'vm-create', vmId, spec, start: true });
    }
    const wishes = random.integer(0, 8);
    for (let i = 0; i < wishes; i++) {
      const vmId = `vm${String(random.integer(1, count))}`;
      scheduler.after(random.between(5000, untilMs), () => this.#wish(vmId));
    }
    if (random.chance(0.3)) this.#interfere(untilMs);
  }

  /** By which policy, and whether somebody follows it. */
  #outputs(): { outputs: OutputPolicy; standby?: boolean } {
    const { edge, looksAtOutputs } = this.#world;
    if (!looksAtOutputs) return { outputs: 'async' };
    const outputs = edge.pick(['async', 'checkpoint', 'log', 'standby', 'standby', 'standby'] as const);
    return outputs === 'log' && edge.chance(0.5) ? { outputs, standby: true } : { outputs };
  }

  /** Powers VMs off that are just being taken over. */
  #interfere(untilMs: number): void {
    const { random, scheduler, checker } = this.#world;
    const vms = Object.values(checker.list?.vms ?? {});
    for (const { id, status } of vms)
      if (status === 'starting' && !this.#busy.has(id) && random.chance(0.15))
        this.#change(id, 'stopped', { type: 'vm-stop', vmId: id });
    if (scheduler.now < untilMs) scheduler.after(50, () => this.#interfere(untilMs));
  }

  #wish(vmId: string): void {
    const { random } = this.#world;
    if (this.#busy.has(vmId)) return;
    const kind = random.integer(0, 9);
    if (kind <= 2) this.#change(vmId, 'stopped', { type: 'vm-stop', vmId });
    else if (kind <= 4) this.#change(vmId, 'running', { type: 'vm-start', vmId });
    else if (kind <= 7) {
      this.#change(vmId, undefined, { type: 'vm-migrate', vmId });
      // A change of mind while the VM is between two nodes.
      if (random.chance(0.5)) this.#world.scheduler.after(random.between(10, 400), () => this.#wish(vmId));
    } else if (kind === 8) this.#change(vmId, 'deleted', { type: 'vm-delete', vmId });
    else this.ask({ type: random.chance(0.5) ? 'drain' : 'undrain', node: 'n1' });
  }

  #change(vmId: string, to: string | undefined, command: Command): void {
    this.#busy.add(vmId);
    this.ask(command, (error) => {
      this.#busy.delete(vmId);
      if (error === null && to !== undefined) this.desired.set(vmId, to);
    });
  }

  /** After the faults: nothing is in maintenance, and what was given up is started again. */
  settle(): void {
    this.ask({ type: 'undrain', node: 'n1' });
    const { scheduler, checker, poisoned } = this.#world;
    const look = (): void => {
      // A drain that was asked for before may have come later.
      if (!this.open) for (const node of checker.list?.maintenance ?? []) this.ask({ type: 'undrain', node });
      for (const vm of Object.values(checker.list?.vms ?? {})) {
        if (vm.status === 'failed' && vm.id !== poisoned && !this.#busy.has(vm.id))
          this.#change(vm.id, 'running', { type: 'vm-start', vmId: vm.id });
      }
      scheduler.after(1000, look);
    };
    look();
  }

  /** What was acknowledged must be what the list says. */
  check(list: ProtectedList): void {
    for (const [vmId, wanted] of this.desired) {
      const vm = list.vms[vmId];
      if (vm === undefined || (vm.desired !== wanted && !this.#busy.has(vmId)))
        throw new Violation(
          'acknowledged',
          `${vmId} was asked to be ${wanted}, the list says ${vm?.desired ?? 'nothing'}`,
        );
    }
  }
}
