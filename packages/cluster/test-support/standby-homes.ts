/** Homes of VMs that follow each other: for tests of standbys. */
import { systemHost, type ObjectStore } from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import type { ProtectedVm, VmSpec } from '../src/decisions/records.ts';
import type { StandbyMessage } from '../src/protocol/standby.ts';
import { until } from '../src/testing/until.ts';
import { Listener, vmOf, VmHome } from './vm-home.ts';

/** Homes whose messages reach each other, but for those that are dropped. */
export class Road {
  readonly homes = new Map<string, VmHome>();
  drops: (message: StandbyMessage) => boolean = () => false;

  home(name: string, store: ObjectStore, options: { runtimes?: Record<string, string> } = {}): VmHome {
    const home = new VmHome(
      store,
      {},
      {
        ...options,
        node: name,
        send: (to, message) => {
          // As over a wire: later, and copied.
          const sent = structuredClone(message);
          setImmediate(() => {
            if (!this.drops(sent)) this.homes.get(to)?.host.heard(name, sent);
          });
        },
      },
    );
    this.homes.set(name, home);
    return home;
  }

  /** A crash. */
  async end(name: string): Promise<void> {
    const home = this.homes.get(name);
    this.homes.delete(name);
    await home?.close();
  }

  async close(): Promise<void> {
    for (const home of this.homes.values()) await home.close();
  }
}

/** Two homes, `a` for a VM's owner and `b` for who follows it, and who listens to the owner's console. The road closes both. */
export function pairOn(store: ObjectStore): {
  road: Road;
  listener: Listener;
  owner: VmHome;
  standby: VmHome;
} {
  const road = new Road();
  const listener = new Listener();
  const [owner, standby] = [road.home('a', store), road.home('b', store)];
  owner.listen(listener);
  return { road, listener, owner, standby };
}

/** The VM of a home has its first checkpoint. */
export const untilCheckpoint = (home: VmHome): Promise<void> =>
  until('the first checkpoint', () => (home.host.figures[0]?.checkpoints ?? 0) === 1);

export const followed = (spec: Partial<VmSpec> = {}): ProtectedVm =>
  vmOf({ outputs: 'standby', checkpointMs: 300, ...spec });

export function follow(
  owner: VmHome,
  epoch: number,
  standby: { home: VmHome; name: string },
  vm: ProtectedVm,
): void {
  standby.home.host.do({ type: 'stand-by', vm, source: 'owner' });
  const session = { node: standby.name, incarnation: 1 };
  owner.host.do({ type: 'set-standby', vmId: vm.id, epoch, standby: session });
}

export const condition = (home: VmHome): string | undefined => home.host.figures[0]?.standby?.condition;

/** A store of which the log takes nothing while `takesLog` is false. */
export function storeWithLog(inner: ObjectStore): { store: ObjectStore; takesLog: (takes: boolean) => void } {
  const store = new FaultyStore(inner, () => undefined, { host: systemHost, random: () => 0.5 });
  return {
    store,
    takesLog: (takes) => {
      store.plan = (operation, key) =>
        !takes && operation === 'put' && key.includes('/log/') ? { kind: 'refused' } : undefined;
    },
  };
}
