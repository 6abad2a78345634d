/** The plan of faults of one seed: kinds are drawn first, so that some seeds know only partitions, others everything at once. */
import type { Refused, SimNode } from './node.ts';
import type { Road } from './store.ts';
import type { World } from './world.ts';

type Fault = (world: World) => void;

/** Puts a node's trouble on and takes it away after a while. */
function impair(world: World, node: SimNode, lastsMs: number, begin: () => void, end: () => void): void {
  if (node.impaired || !node.up) return;
  node.impaired = true;
  begin();
  let over = false;
  const stop = (): void => {
    if (over) return;
    over = true;
    end();
    node.impaired = false;
    node.impairedUntil = world.scheduler.now;
  };
  healers(world).add(stop);
  world.scheduler.after(lastsMs, stop);
}

const perWorld = new WeakMap<World, Set<() => void>>();

function healers(world: World): Set<() => void> {
  const found = perWorld.get(world) ?? new Set();
  perWorld.set(world, found);
  return found;
}

const anyNode = (world: World): SimNode => world.random.pick([...world.nodes.values()]);

/** Often the one that matters most. */
function victim(world: World): SimNode {
  const master = world.checker.list?.master?.node;
  const node = master === undefined ? undefined : world.nodes.get(master);
  return node !== undefined && world.random.chance(0.4) ? node : anyNode(world);
}

const crash: Fault = (world) => {
  const node = victim(world);
  world.trace(`FAULT crash ${node.id}`);
  impair(
    world,
    node,
    world.random.between(100, 12_000),
    () => node.crash(),
    () => node.restart(),
  );
};

const freeze: Fault = (world) => {
  const node = victim(world);
  world.trace(`FAULT freeze ${node.id}`);
  impair(
    world,
    node,
    world.random.between(500, 12_000),
    () => node.freeze(),
    () => node.thaw(),
  );
};

/** The hypervisor below pauses the node: its monotonic clock stands still meanwhile. */
const stall: Fault = (world) => {
  const node = victim(world);
  world.trace(`FAULT stall ${node.id}`);
  impair(
    world,
    node,
    world.random.between(500, 12_000),
    () => node.stall(),
    () => node.thaw(),
  );
};

const road =
  (kind: Road): Fault =>
  (world) => {
    const node = victim(world);
    world.trace(`FAULT store ${kind} for ${node.id}`);
    const { roads } = world.store;
    impair(
      world,
      node,
      world.random.between(500, 12_000),
      () => roads.set(node.id, kind),
      () => roads.delete(node.id),
    );
  };

/** A heartbeat datastore that fails somehow, for one node or for all: no harm to the node's lease. */
const heartbeatRoad: Fault = (world) => {
  const { random, scheduler, heartbeatStores, checker } = world;
  if (heartbeatStores.length === 0) return;
  const store = random.pick(heartbeatStores);
  const kind = random.pick(['slow', 'failing', 'lying', 'cut'] as const);
  const nodes = random.chance(0.5) ? [victim(world)] : [...world.nodes.values()];
  const lasts = random.between(500, 15_000);
  world.trace(`FAULT ${store.name} ${kind} for ${nodes.map(({ id }) => id).join(',')}`);
  for (const { id } of nodes) {
    store.roads.set(id, kind);
    checker.roadIsBad(id, store.name, Infinity);
  }
  const stop = (): void => {
    for (const { id } of nodes) {
      store.roads.delete(id);
      checker.roadIsBad(id, store.name, scheduler.now);
    }
    healers(world).delete(stop);
  };
  healers(world).add(stop);
  scheduler.after(lasts, () => {
    if (healers(world).has(stop)) stop();
  });
};

/** A person who goes past the nodes has a road to the store too. */
const personRoad: Fault = (world) => {
  const { roads } = world.store;
  roads.set('person', world.random.pick(['slow', 'failing', 'lying', 'cut'] as const));
  healers(world).add(() => roads.delete('person'));
};

/** A node that a person asks to leave; its process starts again, before it is done or long after. */
const leave: Fault = (world) => {
  const node = victim(world);
  if (node.frozen) return;
  world.trace(`FAULT leave ${node.id}`);
  impair(
    world,
    node,
    world.random.between(500, 12_000),
    () => node.leave(),
    () => {
      node.crash();
      node.restart();
    },
  );
};

/** A node that fades: the network is gone, answers of the store come late, then it is gone too. */
const fading: Fault = (world) => {
  const { random, scheduler, network, store } = world;
  const node = victim(world);
  world.trace(`FAULT fading ${node.id}`);
  const others = [...world.nodes.keys()].filter((id) => id !== node.id);
  const cuts = others.flatMap((id) => [`${node.id}>${id}`, `${id}>${node.id}`]);
  let over = false;
  impair(
    world,
    node,
    random.between(6000, 15_000),
    () => {
      for (const cut of cuts) network.cuts.add(cut);
      store.roads.set(node.id, 'late');
      scheduler.after(random.between(1000, 5000), () => {
        if (!over) store.roads.set(node.id, 'cut');
      });
    },
    () => {
      over = true;
      store.roads.delete(node.id);
      for (const cut of cuts) network.cuts.delete(cut);
    },
  );
};

const outage: Fault = (world) => {
  world.trace('FAULT store cut for all');
  const lasts = world.random.between(1000, 8000);
  const { roads } = world.store;
  for (const node of world.nodes.values())
    impair(
      world,
      node,
      lasts,
      () => roads.set(node.id, 'cut'),
      () => roads.delete(node.id),
    );
};

/** Cuts one node, one direction of it, or the cluster in two. */
const partition: Fault = (world) => {
  const { random, network, nodes } = world;
  const ids = [...nodes.keys()];
  const oneWay = random.chance(0.4);
  const side = new Set(random.chance(0.5) ? [victim(world).id] : ids.filter(() => random.chance(0.5)));
  const cuts: string[] = [];
  for (const a of side)
    for (const b of ids) {
      if (side.has(b)) continue;
      cuts.push(`${a}>${b}`);
      if (!oneWay) cuts.push(`${b}>${a}`);
    }
  world.trace(`FAULT partition ${oneWay ? 'one-way ' : ''}${[...side].join(',')}`);
  for (const cut of cuts) network.cuts.add(cut);
  const stop = (): void => {
    for (const cut of cuts) network.cuts.delete(cut);
  };
  healers(world).add(stop);
  world.scheduler.after(random.between(500, 15_000), stop);
};

const noisy: Fault = (world) => {
  const { random, network } = world;
  network.loss = random.pick([0, 0.05, 0.3]);
  network.duplication = random.pick([0, 0.2]);
  network.slow = random.pick([0, 0.1, 0.5]);
};

const broken: Fault = (world) => {
  const node = anyNode(world);
  if (node.up && !node.frozen) node.guests.breakOne();
};

/** The store takes no logs for a while, of one node or of all: what leaves then rests on standbys alone. Sometimes other things neither, for longer or not. */
function refuseLogs(world: World, lastsMs: number): void {
  const { edge, nodes, scheduler } = world;
  const whose = edge.chance(0.7) ? [...nodes.values()] : [edge.pick([...nodes.values()])];
  const kinds: Refused[] = ['logs'];
  if (edge.chance(0.4)) kinds.push('notes');
  if (edge.chance(0.4)) kinds.push('checkpoints');
  world.trace(`FAULT no ${kinds.join(', ')} of ${whose.map(({ id }) => id).join(',')}`);
  for (const kind of kinds) {
    for (const { refused } of whose) refused.add(kind);
    const stop = (): void => {
      for (const { refused } of whose) refused.delete(kind);
    };
    healers(world).add(stop);
    scheduler.after(kind === 'logs' ? lastsMs : edge.between(500, 12_000), stop);
  }
}

const noLogs: Fault = (world) => {
  refuseLogs(world, world.edge.between(200, 8000));
};

/** Trouble of a VM that is followed: the store takes no logs, and then its standby, or its owner, or one after the other, goes. */
const standbyTrouble: Fault = (world) => {
  const { edge, checker, nodes, scheduler } = world;
  const followed = Object.values(checker.list?.vms ?? {}).filter(({ standby }) => standby !== undefined);
  if (followed.length === 0) return;
  const vm = edge.pick(followed);
  const [owner, standby] = [vm.assignment?.node ?? '', vm.standby!.node].map((id) => nodes.get(id));
  if (edge.chance(0.7)) refuseLogs(world, edge.between(1000, 9000));
  const end = (node: SimNode | undefined, afterMs: number): void =>
    scheduler.after(afterMs, () => {
      if (node === undefined || node.frozen || !world.faulty) return;
      world.trace(`FAULT crash ${node.id}`);
      impair(
        world,
        node,
        edge.between(100, 9000),
        () => node.crash(),
        () => node.restart(),
      );
    });
  const first = edge.between(50, 2500);
  const kind = edge.integer(0, 3);
  if (kind <= 1) {
    if (kind === 0) world.drain(standby?.id ?? 'n1');
    end(owner, first);
    // And whoever has it then, soon after it took it over.
    scheduler.after(first + edge.between(2500, 7000), () => {
      const next = checker.list?.vms[vm.id]?.assignment?.node;
      if (next !== undefined && edge.chance(0.6)) end(nodes.get(next), 0);
    });
    return;
  }
  end(kind === 2 ? standby : owner, first);
  end(kind === 2 ? owner : standby, first + edge.between(0, 5000));
};

const all: readonly Fault[] = [
  crash,
  freeze,
  stall,
  partition,
  noisy,
  broken,
  road('slow'),
  road('failing'),
  road('lying'),
  road('cut'),
  outage,
];

/** Come besides, so that the others are not rarer. */
const besides: readonly Fault[] = [heartbeatRoad, personRoad, fading, leave];

/** Schedules faults until `untilMs`, then heals everything. */
export function planFaults(world: World, fromMs: number, untilMs: number): void {
  const { random, scheduler } = world;
  const kinds = all.filter(() => random.chance(0.4));
  if (kinds.length === 0) kinds.push(random.pick(all));
  const faults = Array.from({ length: random.integer(2, 16) }, () => random.pick(kinds));
  if (random.chance(0.4))
    faults.push(...Array.from({ length: random.integer(1, 4) }, () => random.pick(besides)));
  if (world.looksAtOutputs)
    for (let i = world.edge.integer(1, 6); i > 0; i--) faults.push(world.edge.pick([noLogs, standbyTrouble]));
  for (const fault of faults) {
    scheduler.after(random.between(fromMs, untilMs), () => {
      if (world.faulty) fault(world);
    });
  }
  scheduler.after(untilMs, () => {
    world.trace('HEAL');
    world.faulty = false;
    for (const stop of healers(world)) stop();
    world.network.cuts.clear();
    world.network.loss = 0;
    world.network.duplication = 0;
    world.network.slow = 0;
  });
}
