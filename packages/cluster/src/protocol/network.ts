/** Networks of the cluster: what a person wants of one, what a VM has in one, and the frames between nodes. */
import * as v from 'valibot';
import {
  maxFormer,
  maxFrameSize,
  maxFrames,
  maxHostPorts,
  maxName,
  maxPlaces,
  maxPublish,
} from './limits.ts';
import { count, list, text, vmName } from './schema.ts';

/** What a network may be called is for the command to say. */
export const networkName = text(maxName);
const decimal = '(0|[1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])';
export const ipv4 = v.pipe(
  v.string(),
  v.regex(new RegExp(`^${decimal}(\\.${decimal}){3}$`), 'not an IPv4 address'),
);
const subnet = v.pipe(
  v.string(),
  v.regex(new RegExp(`^${decimal}(\\.${decimal}){3}/(8|9|1\\d|2[0-4])$`), 'not a subnet from /8 to /24'),
);
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff));
const macAddress = v.pipe(v.string(), v.regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, 'not a MAC address'));

export const networkSpecSchema = v.strictObject({
  subnet,
  /** Its guests reach the world beyond it. */
  outbound: v.boolean(),
  /** A guest's frames with another's MAC or address are dropped. */
  guard: v.boolean(),
  /** Ports of each node's loopback that guests reach at the gateway's address. */
  hostPorts: list(port, maxHostPorts),
});
export type NetworkSpec = v.InferOutput<typeof networkSpecSchema>;

/** The first of these subnets that no network has: networks may overlap, but a person tells them apart more easily so. */
export function freeSubnet(networks: Readonly<Record<string, NetworkSpec>>): string {
  const taken = new Set(Object.values(networks).map((spec) => spec.subnet));
  for (let second = 64; second < 128; second++) {
    const free = `10.${String(second)}.0.0/16`;
    if (!taken.has(free)) return free;
  }
  return '10.128.0.0/16';
}

export const publishSchema = v.strictObject({
  /** The node that listens, or `*` for each. */
  on: text(maxName),
  /** Where it listens; absent: where it serves its API. */
  address: v.exactOptional(ipv4),
  protocol: v.picklist(['tcp', 'udp']),
  port,
  guestPort: port,
});
export type Publish = v.InferOutput<typeof publishSchema>;

/** Of a VmSpec. */
export const vmNetworkSchema = v.strictObject({
  name: networkName,
  publish: list(publishSchema, maxPublish),
});
export type VmNetwork = v.InferOutput<typeof vmNetworkSchema>;

/** Given to a VM when it is created, and kept wherever it runs. */
export const nicSchema = v.strictObject({
  mac: macAddress,
  address: ipv4,
  /** Of a fork: the addresses that its guest may take for its own, the last one first forked. Each has its MAC. */
  former: v.exactOptional(list(ipv4, maxFormer)),
});
export type Nic = v.InferOutput<typeof nicSchema>;

const bytes = v.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length >= 14 && value.length <= maxFrameSize,
  'not a frame',
);
const instructions = v.pipe(v.number(), v.finite(), v.minValue(0));

/** Frames of one network, in order. `from`: the guest that sent them, and its epoch; null: a gateway. */
export const framesSchema = v.strictObject({
  type: v.literal('frames'),
  network: networkName,
  from: v.nullable(v.strictObject({ vmId: vmName, epoch: count })),
  /** `at`: at which instruction count of its guest's it was sent; 0 of a gateway. */
  frames: list(v.strictObject({ bytes, at: instructions }), maxFrames),
});
export type FramesMessage = v.InferOutput<typeof framesSchema>;

export const placeSchema = v.strictObject({
  network: networkName,
  vmId: vmName,
  epoch: count,
  /** The instruction count from which it goes on under this epoch. */
  resumedAt: instructions,
});
export type Place = v.InferOutput<typeof placeSchema>;

/** The guests of the sender that have a network. */
export const placesSchema = v.strictObject({
  type: v.literal('places'),
  places: list(placeSchema, maxPlaces),
});
export type PlacesMessage = v.InferOutput<typeof placesSchema>;
