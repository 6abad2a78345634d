/** What one node has to do for each network: a pure function of the protected list and of what the node knows of the others. */
import { parseAddress, parseMac, type Forward, type Name } from '@revenant/network';
import {
  inNetwork,
  layoutOf,
  macOfVm,
  nodePlace,
  type Layout,
  type NodePlace,
} from '../decisions/networks.ts';
import type { ProtectedList } from '../decisions/records.ts';
import type { HostState } from '../protocol/api.ts';

/** Of a VM's card. */
export interface VmPlace {
  mac: number;
  address: number;
  /** What the guest of a fork may take for its own. */
  former: readonly Name[];
}

export interface SegmentPlan {
  layout: Layout;
  outbound: boolean;
  guard: boolean;
  hostPorts: readonly number[];
  /** This node's place. */
  place: NodePlace;
  peers: readonly { node: string; place: NodePlace | undefined; dead: boolean }[];
  reservations: readonly { mac: number; address: number }[];
  vms: ReadonlyMap<string, VmPlace>;
  /** Published ports on which this node listens. */
  forwards: readonly Forward[];
}

export interface NodeSight {
  id: string;
  /** Where it serves its API, and by default listens for published ports. */
  host: string;
  peers: ReadonlyMap<string, HostState>;
}

/** By name. A node whose number is not in the list yet, or that has no place in a network, has none there. */
export function planNetworks(list: ProtectedList, node: NodeSight): Map<string, SegmentPlan> {
  const plans = new Map<string, SegmentPlan>();
  const slotOf = new Map(Object.entries(list.slots));
  for (const [name, spec] of Object.entries(list.networks)) {
    const layout = layoutOf(spec);
    const place = nodePlace(layout, slotOf.get(node.id));
    if (place === undefined) continue;
    const vms = inNetwork(list, name).map(({ id, nic, spec: { network } }) => ({
      id,
      mac: parseMac(nic.mac) ?? 0,
      address: parseAddress(nic.address) ?? 0,
      former: (nic.former ?? []).map((text) => {
        const former = parseAddress(text) ?? 0;
        return { mac: macOfVm(former), address: former };
      }),
      publish: network?.publish ?? [],
    }));
    const forwards = vms.flatMap(({ address, publish }) =>
      publish
        .filter(({ on }) => on === '*' || on === node.id)
        .map((each): Forward => ({
          protocol: each.protocol,
          hostAddress: each.address ?? node.host,
          hostPort: each.port,
          guestAddress: address,
          guestPort: each.guestPort,
        })),
    );
    plans.set(name, {
      layout,
      place,
      forwards,
      outbound: spec.outbound,
      guard: spec.guard,
      hostPorts: spec.hostPorts,
      peers: [...node.peers].map(([id, state]) => ({
        node: id,
        place: nodePlace(layout, slotOf.get(id)),
        dead: state === 'dead' || state === 'left',
      })),
      reservations: vms.map(({ mac, address }) => ({ mac, address })),
      vms: new Map(vms.map(({ id, mac, address, former }) => [id, { mac, address, former }])),
    });
  }
  return plans;
}

export function sameForward(a: Forward, b: Forward): boolean {
  return (
    a.protocol === b.protocol &&
    a.hostAddress === b.hostAddress &&
    a.hostPort === b.hostPort &&
    a.guestAddress === b.guestAddress &&
    a.guestPort === b.guestPort
  );
}
