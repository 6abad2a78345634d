/**
 * Turns a control-flow graph into nested WebAssembly scopes. A strongly connected component becomes a `loop`; one that can be
 * entered at several nodes begins with a dispatcher, which branches by the number of the wanted node, so that every edge of any graph, reducible
 * or not, has its branch. A forward edge is a branch out of a `block` that ends before its target. (Havlak: Nesting of reducible and irreducible loops.)
 */
export interface Edge {
  from: number;
  to: number;
}

/** What stands at one place of the layout: a node, or a dispatcher that branches to one of `targets`. */
export type Item = { node: number } | { targets: readonly number[] };

export interface Scope {
  kind: 'block' | 'loop';
  /** Items: opened before `start`, closed before `end`. */
  start: number;
  end: number;
}

/** How to branch to a node: to which item, and whether a dispatcher on the way has to be told the node. */
export interface Route {
  item: number;
  dispatched: boolean;
}

interface Loop {
  start: number;
  end: number;
  /** Node that begins a round. */
  header: number;
  dispatched: boolean;
}

export class Structure {
  /** In the order of the code. */
  readonly items: Item[] = [];
  /** In the order in which they are opened. */
  readonly scopes: Scope[];
  readonly #loops: Loop[] = [];
  readonly #position: number[];
  readonly #successors: number[][];
  readonly #predecessors: number[][];
  readonly #entries: ReadonlySet<number>;

  /** Nodes are 0…count - 1, all of them reachable from the entries. Several entries: the first item is their dispatcher. */
  constructor(count: number, edges: readonly Edge[], entries: readonly number[]) {
    this.#successors = Array.from({ length: count }, () => []);
    this.#predecessors = Array.from({ length: count }, () => []);
    for (const { from, to } of edges) {
      this.#successors[from]?.push(to);
      this.#predecessors[to]?.push(from);
    }
    this.#entries = new Set(entries);
    this.#position = new Array<number>(count).fill(-1);
    if (entries.length > 1) this.items.push({ targets: entries });
    this.#place([...Array(count).keys()], new Set());
    this.scopes = this.#nest();
  }

  #put(node: number): void {
    this.#position[node] = this.items.length;
    this.items.push({ node });
  }

  /** Lays out nodes; edges to those in `cut` go back to the beginning of a loop around them. */
  #place(nodes: readonly number[], cut: ReadonlySet<number>): void {
    for (const component of this.#components(nodes, cut)) {
      const [first] = component as [number];
      const isLoop = component.length > 1 || (!cut.has(first) && this.#successors[first]?.includes(first));
      if (isLoop === true) this.#placeLoop(component, cut);
      else this.#put(first);
    }
  }

  #placeLoop(component: readonly number[], cut: ReadonlySet<number>): void {
    const members = new Set(component);
    const before = (node: number): readonly number[] => this.#predecessors[node] ?? [];
    const heads = component.filter((n) => this.#entries.has(n) || before(n).some((p) => !members.has(p)));
    const rounds = (node: number): number => before(node).filter((p) => members.has(p)).length;
    const header = heads.reduce((best, n) => (rounds(n) > rounds(best) ? n : best));
    const start = this.items.length;
    const dispatched = heads.length > 1;
    if (dispatched) this.items.push({ targets: heads });
    this.#place(component, new Set([...cut, header]));
    this.#loops.push({ start, end: this.items.length, header, dispatched });
  }

  /** Strongly connected components in topological order (Tarjan). */
  #components(nodes: readonly number[], cut: ReadonlySet<number>): number[][] {
    const inside = new Set(nodes);
    const index = new Map<number, number>();
    const stack: number[] = [];
    const onStack = new Set<number>();
    const found: number[][] = [];
    const visit = (node: number): number => {
      const mine = index.size;
      let lowest = mine;
      index.set(node, mine);
      stack.push(node);
      onStack.add(node);
      for (const next of this.#successors[node] ?? []) {
        if (!inside.has(next) || cut.has(next)) continue;
        if (!index.has(next)) lowest = Math.min(lowest, visit(next));
        else if (onStack.has(next)) lowest = Math.min(lowest, index.get(next) ?? lowest);
      }
      if (lowest === mine) {
        const component = stack.splice(stack.indexOf(node));
        for (const member of component) onStack.delete(member);
        found.push(component);
      }
      return lowest;
    };
    for (const node of nodes) if (!index.has(node)) visit(node);
    return found.reverse();
  }

  /** How the item at `from` branches to `node`. */
  route(from: number, node: number): Route {
    const at = this.#position[node] ?? 0;
    const contains = (loop: Loop, item: number): boolean => loop.start <= item && item < loop.end;
    const entered = this.#loops
      .filter((loop) => loop.dispatched && contains(loop, at) && !contains(loop, from))
      .sort((a, b) => a.start - b.start)[0];
    if (entered !== undefined) return { item: entered.start, dispatched: true };
    if (at > from) return { item: at, dispatched: false };
    const round = this.#loops.find((loop) => loop.dispatched && loop.header === node && contains(loop, from));
    return round === undefined ? { item: at, dispatched: false } : { item: round.start, dispatched: true };
  }

  /** The loops, and at the beginning of each the blocks for the places inside of it that forward branches go to. */
  #nest(): Scope[] {
    const targets = new Set<number>();
    this.items.forEach((item, from) => {
      for (const node of 'node' in item ? (this.#successors[item.node] ?? []) : item.targets) {
        const to = this.route(from, node).item;
        if (to > from) targets.add(to);
      }
    });
    const scopes: Scope[] = this.#loops.map(({ start, end }) => ({ kind: 'loop', start, end }));
    for (const end of targets) {
      const around = this.#loops.filter((loop) => loop.start < end && end < loop.end);
      scopes.push({ kind: 'block', start: Math.max(0, ...around.map((loop) => loop.start)), end });
    }
    return scopes.sort((a, b) => a.start - b.start || b.end - a.end);
  }
}
