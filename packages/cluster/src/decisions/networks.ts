/**
 * The networks of the cluster's VMs in the protected list, and what follows from it: addresses and MACs. Pure functions.
 *
 * Of a subnet, address 2 is the gateway, 3 the name server, each on every node for the guests that run there; from 4 on each node has one
 * of its own, from which connections enter that came in by a published port; behind those come the VMs. A MAC is made of its address, so
 * that no two in a network are the same.
 */
import {
  formatAddress,
  formatMac,
  inSubnet,
  maskOf,
  parseAddress,
  type Subnet,
} from '@revenant/network/address';
import { ClusterError } from '../errors.ts';
import { maxFormer, maxNetworks } from '../protocol/limits.ts';
import type { VmSpec } from '../protocol/spec.ts';
import {
  vmOf,
  type NetworkSpec,
  type Nic,
  type ProtectedList,
  type ProtectedVm,
  type Publish,
} from './records.ts';

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const gatewayHost = 2;
const nameServerHost = 3;
const firstNode = 4;

/** First two bytes of MACs, all of them locally administered: of VMs, of gateways to the world, of those by which connections enter. */
const Mac = { vm: 0x5256, gateway: 0x5257, entry: 0x5258 } as const;
const macOf = (kind: keyof typeof Mac, address: number): number => Mac[kind] * 0x1_0000_0000 + address;

/** Of the VM with this address. */
export const macOfVm = (address: number): number => macOf('vm', address);

export const isMacOfVm = (mac: number): boolean => Math.floor(mac / 0x1_0000_0000) === Mac.vm;

/** Where everything is in a subnet. */
export interface Layout {
  subnet: Subnet;
  gateway: number;
  nameServer: number;
  nodes: number;
  firstVm: number;
  lastVm: number;
}

export function layoutOf({ subnet: text }: Pick<NetworkSpec, 'subnet'>): Layout {
  const [address = '', prefix = ''] = text.split('/');
  const subnet = { base: parseAddress(address) ?? 0, prefixLength: Number(prefix) };
  const { base } = subnet;
  const last = base + (~maskOf(subnet) >>> 0);
  const nodes = subnet.prefixLength < 24 ? 252 : 60;
  return {
    subnet,
    gateway: base + gatewayHost,
    nameServer: base + nameServerHost,
    nodes,
    firstVm: base + firstNode + nodes,
    lastVm: last - 1,
  };
}

export interface NodePlace {
  /** From which connections enter. */
  address: number;
  entryMac: number;
  gatewayMac: number;
}

/** A node's own place in a network; undefined for one that has none: there are more nodes than places. */
export function nodePlace({ subnet, nodes }: Layout, slot: number | undefined): NodePlace | undefined {
  if (slot === undefined || slot >= nodes) return undefined;
  const address = subnet.base + firstNode + slot;
  return { address, entryMac: macOf('entry', address), gatewayMac: macOf('gateway', address) };
}

export function networkOf(list: ProtectedList, name: string): NetworkSpec | undefined {
  return Object.hasOwn(list.networks, name) ? Reflect.get(list.networks, name) : undefined;
}

/** Throws ClusterError `BAD_REQUEST`, `CONFLICT`, `NO_CAPACITY`. */
export function createNetwork(list: ProtectedList, name: string, spec: NetworkSpec): ProtectedList {
  if (!namePattern.test(name))
    throw new ClusterError('BAD_REQUEST', `${JSON.stringify(name.slice(0, 64))} is no name for a network`, {
      hint: 'use 1 to 63 lower-case letters, digits, dots, underscores or hyphens',
    });
  if (networkOf(list, name) !== undefined)
    throw new ClusterError('CONFLICT', `there is a network ${name} already`);
  if (Object.keys(list.networks).length >= maxNetworks)
    throw new ClusterError('NO_CAPACITY', `there are ${String(maxNetworks)} networks already`);
  const { subnet, gateway } = layoutOf(spec);
  if (!inSubnet(subnet, gateway))
    throw new ClusterError(
      'BAD_REQUEST',
      `${spec.subnet} is no subnet: ${formatAddress(subnet.base)} is inside one`,
      {
        hint: `write ${formatAddress((subnet.base & maskOf(subnet)) >>> 0)}/${String(subnet.prefixLength)}`,
      },
    );
  return { ...list, networks: { ...list.networks, [name]: spec } };
}

/** Throws ClusterError `NOT_FOUND`, `CONFLICT`. */
export function deleteNetwork(list: ProtectedList, name: string): ProtectedList {
  if (networkOf(list, name) === undefined) throw new ClusterError('NOT_FOUND', `there is no network ${name}`);
  const user = inNetwork(list, name)[0];
  if (user !== undefined)
    throw new ClusterError('CONFLICT', `${user.id} is in the network ${name}`, {
      hint: 'delete its VMs first',
    });
  const networks = Object.fromEntries(Object.entries(list.networks).filter(([each]) => each !== name));
  return { ...list, networks };
}

/** The VMs of a network that are not gone. */
export function inNetwork(list: ProtectedList, name: string): (ProtectedVm & { nic: Nic })[] {
  return Object.values(list.vms).flatMap((vm) => {
    const { nic, spec, status } = vm;
    return spec.network?.name === name && nic !== undefined && status !== 'deleted' ? [{ ...vm, nic }] : [];
  });
}

/**
 * The card of a new VM. `had`: the one that its guest knows, of one that is restored; it has it again, unless another VM has its address
 * now. A fork's guest knows its parent's. Throws ClusterError `NOT_FOUND`, `CONFLICT`, `NO_CAPACITY`.
 */
export function newNic(
  list: ProtectedList,
  vmId: string,
  { network, origin }: VmSpec,
  had?: Nic,
): Nic | undefined {
  if (network === undefined) return undefined;
  const spec = networkOf(list, network.name);
  if (spec === undefined)
    throw new ClusterError('NOT_FOUND', `there is no network ${network.name}`, {
      hint: `create it: revenant network create ${network.name}`,
    });
  for (const wanted of network.publish) checkFree(list, vmId, network.publish, wanted);
  const taken = new Set(inNetwork(list, network.name).map(({ nic }) => nic.address));
  const { firstVm, lastVm } = layoutOf(spec);
  if (had !== undefined) {
    const address = parseAddress(had.address) ?? 0;
    const inside = address >= firstVm && address <= lastVm;
    if (!inside || had.mac !== formatMac(macOfVm(address)))
      throw new ClusterError(
        'CONFLICT',
        `${vmId} had the address ${had.address}, which is not in ${network.name}`,
        { hint: 'leave its card out (`vm restore --no-network`)' },
      );
    if (!taken.has(had.address)) return had;
  }
  const known = had ?? (origin && vmOf(list, origin.vm)?.nic);
  for (let address = firstVm; address <= lastVm; address++) {
    const text = formatAddress(address);
    if (!taken.has(text))
      return { mac: formatMac(macOfVm(address)), address: text, ...formerOf(known, text) };
  }
  throw new ClusterError('NO_CAPACITY', `the network ${network.name} has no address left`);
}

/**
 * The addresses that the guest of a fork may take for its own: that of the VM whose memory it has, and those that this one's may. Of many the first
 * and the last ones stay: whose lease was never renewed has the first.
 */
function formerOf(known: Nic | undefined, own: string): Pick<Nic, 'former'> {
  if (known === undefined) return {};
  const all = [...new Set([...(known.former ?? []), known.address])].filter((each) => each !== own);
  const half = maxFormer / 2;
  return { former: all.length <= maxFormer ? all : [...all.slice(0, half), ...all.slice(-half)] };
}

const sameListener = (a: Publish, b: Publish): boolean =>
  a.protocol === b.protocol &&
  a.port === b.port &&
  (a.on === b.on || a.on === '*' || b.on === '*') &&
  (a.address === b.address || a.address === undefined || b.address === undefined);

function checkFree(list: ProtectedList, vmId: string, own: readonly Publish[], wanted: Publish): void {
  const others = Object.values(list.vms).filter(({ id, status }) => id !== vmId && status !== 'deleted');
  const other = others.find(({ spec }) => spec.network?.publish.some((each) => sameListener(each, wanted)));
  const twice = own.filter((each) => sameListener(each, wanted)).length > 1;
  if (other === undefined && !twice) return;
  const place = wanted.on === '*' ? 'every node' : wanted.on;
  throw new ClusterError(
    'CONFLICT',
    `port ${String(wanted.port)} of ${place} is published ${other === undefined ? 'twice' : `for ${other.id} already`}`,
    { hint: 'choose another port' },
  );
}

/** Once there is a network, each node has a number; one that a node once had is not given to another. */
export function withSlots(list: ProtectedList, nodes: Iterable<string>): ProtectedList {
  if (Object.keys(list.networks).length === 0) return list;
  const fresh = [...nodes].filter((node) => !Object.hasOwn(list.slots, node)).sort();
  if (fresh.length === 0) return list;
  const taken = new Set(Object.values(list.slots));
  const slots = { ...list.slots };
  let slot = 0;
  for (const node of fresh) {
    while (taken.has(slot)) slot++;
    taken.add(slot);
    slots[node] = slot;
  }
  return { ...list, slots };
}
