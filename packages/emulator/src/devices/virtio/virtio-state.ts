/** The state of a virtio card, as every type of card has it, and the shape of its structures: VIRTIO Version 1.2, section 4.1.4. */
import { msixState } from '../pci/msix.ts';
import { pciState } from '../pci/pci-function.ts';
import {
  defineState,
  i64,
  list,
  nullable,
  record,
  tuple,
  u16,
  u32,
  u8,
  type Infer,
  type StateDefinition,
} from '../schema.ts';
import { queueState, resetQueue } from './virtqueue.ts';

/** Kinds of structure, each in a page of its own in BAR 0. */
const Capability = { common: 1, notify: 2, isr: 3, device: 4, pciAccess: 5 } as const;
export const Layout = { common: 0x0000, isr: 0x1000, device: 0x2000, notify: 0x3000 } as const;
export const structureBytes = 0x1000;
export const barBytes = 0x4000;
export const commonBytes = 0x38;
const capabilityBytes = 16;
const vendorSpecific = 0x09;
const firstCapability = 0x40;
/** Registers of the access capability (struct virtio_pci_cfg_cap), which is the last of virtio's own. */
const access = firstCapability + 3 * capabilityBytes + capabilityBytes + 4;
export const Access = {
  bar: access + 4,
  offset: access + 8,
  length: access + 12,
  data: access + 16,
} as const;
/** Where MSI-X is, on cards that have it: behind the access capability, and in the page of the common structure, which is short. */
export const MsixPlace = { capability: access + 20, table: 0x800, pending: 0xc00 } as const;
/** 4.1.4.3: no message. */
export const noVector = 0xffff;

/** More than any device here has. */
const maxQueues = 8;

const schema = record({
  pci: pciState,
  /** Window of the access capability. */
  accessBar: u8,
  accessOffset: u32,
  accessLength: u32,
  status: u8,
  isr: u8,
  deviceFeatureSelect: u32,
  driverFeatureSelect: u32,
  /** What the driver accepted: low and high half. */
  driverFeatures: tuple(u32, 2),
  queueSelect: u16,
  queues: list(queueState, maxQueues),
  /** A bit for each queue in which the driver announced requests. */
  notified: u16,
  /** When the requests that are announced will be done. */
  dueAtNs: nullable(i64),
  /** Something in the device's configuration that the driver is to look at: bits of the device type. */
  configurationStatus: u16,
  /** Numbers of the device type. */
  registers: list(u32, 8),
  /** Of cards with MSI-X: the function's state, and the vectors that the driver gave to the configuration and to each queue. */
  messages: nullable(
    record({ msix: msixState, configurationVector: u16, queueVectors: list(u16, maxQueues) }),
  ),
});
export type VirtioState = Infer<typeof schema>;

/** Version 1 had one queue, and no device whose configuration changes. */
function migrateFrom1(old: unknown): unknown {
  const { queue, notified, ...rest } = old as Record<string, unknown>;
  return { ...rest, queues: [queue], notified: notified === true ? 1 : 0, configurationStatus: 0 };
}

/** Version 2 had no MSI-X, and no numbers of the type. */
function migrateFrom2(old: unknown): unknown {
  return { ...(old as object), registers: [], messages: null };
}

export function virtioDefinition(name: string): StateDefinition<VirtioState> {
  return defineState<VirtioState>({
    name,
    version: 3,
    schema,
    migrations: { 1: migrateFrom1, 2: migrateFrom2 },
  });
}

/** 2.4: what a reset by the driver clears. PCI's own registers stay, and what the device type keeps. */
export function resetByDriver(
  queueSizes: readonly number[],
): Omit<VirtioState, 'pci' | 'accessBar' | 'accessOffset' | 'accessLength' | 'registers' | 'messages'> {
  return {
    status: 0,
    isr: 0,
    deviceFeatureSelect: 0,
    driverFeatureSelect: 0,
    driverFeatures: [0, 0],
    queueSelect: 0,
    queues: queueSizes.map(resetQueue),
    notified: 0,
    dueAtNs: null,
    configurationStatus: 0,
  };
}

/** @param more a capability that stands behind virtio's own */
export function capabilityList(more: Uint8Array | undefined): Uint8Array {
  const bytes = new Uint8Array(256 - firstCapability);
  const view = new DataView(bytes.buffer);
  const structures = [
    [Capability.common, Layout.common, commonBytes],
    [Capability.notify, Layout.notify, structureBytes],
    [Capability.isr, Layout.isr, structureBytes],
    [Capability.device, Layout.device, structureBytes],
    [Capability.pciAccess, 0, 0],
  ] as const;
  let at = 0;
  structures.forEach(([kind, offset, length], n) => {
    // The notification and the access capability have one more word: multiplier 0 (one register for all queues), and data.
    const size = capabilityBytes + (kind === Capability.notify || kind === Capability.pciAccess ? 4 : 0);
    const isLast = n === structures.length - 1 && more === undefined;
    bytes[at] = vendorSpecific;
    bytes[at + 1] = isLast ? 0 : firstCapability + at + size;
    bytes[at + 2] = size;
    bytes[at + 3] = kind;
    view.setUint32(at + 8, offset, true);
    view.setUint32(at + 12, length, true);
    at += size;
  });
  if (more !== undefined) bytes.set(more, at);
  return bytes;
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
