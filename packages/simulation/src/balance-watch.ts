/** What must hold of VMs that the cluster moves by itself to even out how full its nodes are, as each protected list shows it. */
import type { ProtectedList, ProtectedVm } from '@revenant/cluster';

export interface Broken {
  rule: string;
  message: string;
}

/** Who is where. */
type Places = ReadonlyMap<string, string>;

const placesOf = (list: ProtectedList | undefined): Map<string, string> => {
  const places = new Map<string, string>();
  for (const { id, assignment, standby, status } of Object.values(list?.vms ?? {})) {
    if (assignment !== null && status !== 'deleted') places.set(id, assignment.node);
    if (standby !== undefined) places.set(`standby of ${id}`, standby.node);
  }
  return places;
};

const isSame = (a: Places, b: Places): boolean =>
  a.size === b.size && [...a].every(([id, node]) => b.get(id) === node);

export class BalanceWatch {
  moves = 0;
  /** By VM, the nodes that it left to even them out, while nothing else changed places. */
  readonly #left = new Map<string, Set<string>>();

  /** A list landed over another. @returns the rule that is broken, if one is */
  listed(before: ProtectedList | undefined, list: ProtectedList): Broken | undefined {
    const moved = Object.values(list.vms).filter(
      (vm) => vm.moving && vm.attempt !== before?.vms[vm.id]?.attempt && / balance: /.test(vm.reason),
    );
    const places = placesOf(before);
    for (const { id, assignment } of moved) places.set(id, assignment!.node);
    if (!isSame(places, placesOf(list))) this.#left.clear();
    const [vm, ...others] = moved;
    if (vm === undefined) return undefined;
    this.moves++;
    return others.length > 0
      ? { rule: 'balance-in-trouble', message: `${String(moved.length)} VMs moved at once` }
      : (this.#inTrouble(vm, list) ?? this.#undoes(vm, before!.vms[vm.id]!.assignment!.node));
  }

  #inTrouble({ id }: ProtectedVm, list: ProtectedList): Broken | undefined {
    const busy = Object.values(list.vms).find(
      (vm) => vm.id !== id && (vm.moving || vm.status === 'starting' || vm.status === 'stopping'),
    );
    const why = list.disarmed ?? list.balancing ?? busy?.id;
    if (why === undefined) return undefined;
    return { rule: 'balance-in-trouble', message: `${id} was moved to even nodes out beside ${why}` };
  }

  #undoes({ id, assignment }: ProtectedVm, from: string): Broken | undefined {
    const left = this.#left.get(id) ?? new Set();
    this.#left.set(id, left.add(from));
    if (!left.has(assignment!.node)) return undefined;
    return { rule: 'ping-pong', message: `${id} was moved back to ${assignment!.node}, which it had left` };
  }
}
