/**
 * Disks of a VM: what its description says of them, and the base images they lie on, read lazily from the store. The guest's thread
 * can't wait for promises, so these pages, and those of RAM that come late, go to it through a channel that this thread serves.
 */
import { MessageChannel } from 'node:worker_threads';
import type { DiskAttachment, DiskRequest } from '@revenant/emulator';
import {
  baseImageName,
  checkBaseImage,
  keepBaseImage,
  openBaseImage,
  pageChannelMemory,
  PageServer,
  type CheckpointKey,
  type CheckpointReader,
  type ObjectStore,
  type PageChannelEnds,
  type PagePool,
  type PageServerOptions,
  type ServedPages,
  type SpaceSnapshot,
} from '@revenant/storage';
import { ClusterError } from '../errors.ts';

/** One entry of `disks` in the description of a VM of runtime `machine`. */
export interface DiskSpec {
  /** `disk0`, `disk1`, … */
  name: string;
  bytes: number;
  readOnly?: boolean;
  /** The image below, which the store has under `baseImageName(sha256)`; without it the disk is empty. */
  base?: { sha256: string } | null;
  /** How the guest sees it; absent: virtio. */
  attach?: DiskAttachment;
  /** What people call it: the name of the file that it was made from. */
  title?: string;
}

/** The same for the description of a machine. */
export function machineDisk({ name, bytes, readOnly, base, attach }: DiskSpec): DiskRequest {
  return {
    name,
    bytes,
    base: base ?? null,
    ...(readOnly === undefined ? {} : { readOnly }),
    ...(attach === undefined ? {} : { attach }),
  };
}

const pageSize = 4096;

export function disksOf(description: unknown): DiskSpec[] {
  const { disks } = (description ?? {}) as { disks?: unknown };
  return Array.isArray(disks) ? (disks as DiskSpec[]) : [];
}

export function hasDisks(description: unknown): boolean {
  return disksOf(description).length > 0;
}

/** The disks that a checkpoint holds, pages of base images left out. */
export async function readDisks(reader: CheckpointReader, description: unknown): Promise<SpaceSnapshot[]> {
  const names = new Set(disksOf(description).map(({ name }) => name));
  const held = reader.spaces.filter(({ name }) => names.has(name));
  return Promise.all(held.map(({ name }) => reader.readSpace(name, { onBase: true })));
}

/** Names of base images by disk: what the checkpoint writer needs to know. */
export function baseNames(description: unknown): Record<string, string> {
  const names: Record<string, string> = {};
  for (const { name, base } of disksOf(description))
    if (base?.sha256 !== undefined) names[name] = baseImageName(base.sha256);
  return names;
}

/** Throws StorageError when a base image of a VM's disks is not there, or can't be read with this key. What can is added to `seen`. */
export async function requireBases(
  store: ObjectStore,
  description: unknown,
  { key, seen }: { key: CheckpointKey | undefined; seen: Set<string> },
): Promise<void> {
  for (const name of Object.values(baseNames(description))) {
    if (seen.has(name)) continue;
    await checkBaseImage(store, name, key);
    seen.add(name);
  }
}

/**
 * For who is about to make a VM: its disks' base images are there, and stay until it is in the list.
 * @throws ClusterError `BLOB_MISSING`; StorageError for one that can't be read with this key
 */
export async function keepBases(
  store: ObjectStore,
  description: unknown,
  key: CheckpointKey | undefined,
): Promise<void> {
  for (const name of new Set(Object.values(baseNames(description))))
    if (!(await keepBaseImage(store, name, { key })))
      throw new ClusterError('BLOB_MISSING', `the store has no base image ${name}`, {
        hint: 'import it (again): what no VM refers to is collected after a while',
      });
}

/** Pages that a running VM may ask for: of base images, and of RAM that has not come yet. */
export interface ServedVm {
  server: PageServer;
  /** For the guest's thread; `ends.port` is to be transferred. */
  ends: PageChannelEnds;
}

/**
 * Opens the base images of a VM's disks, and serves them and `ram`; undefined when there is nothing to serve.
 * @throws StorageError `CHECKPOINT_DAMAGED` when one is missing; ClusterError when it is not the image it should be.
 */
export async function servePages(
  store: ObjectStore,
  description: unknown,
  options: {
    pool: PagePool;
    key?: CheckpointKey | undefined;
    onStall: NonNullable<PageServerOptions['onStall']>;
    ram?: (ServedPages & { pageCount: number }) | undefined;
  },
): Promise<ServedVm | undefined> {
  const sources = new Map<string, ServedPages>();
  const counts: Record<string, number> = {};
  if (options.ram !== undefined) {
    sources.set('ram', options.ram);
    counts['ram'] = options.ram.pageCount;
  }
  for (const { name, base } of disksOf(description)) {
    if (base === undefined || base === null) continue;
    const { pool, key } = options;
    const { info, pages } = await openBaseImage(store, baseImageName(base.sha256), { pool, key });
    if (info.contentHash !== base.sha256 || info.pageSize !== pageSize)
      throw new ClusterError(
        'RUNTIME',
        `the base image ${info.name} is not the one that ${name} was made from`,
      );
    sources.set(name, pages);
    counts[name] = info.pageCount;
  }
  if (sources.size === 0) return undefined;
  const { port1, port2 } = new MessageChannel();
  const memory = pageChannelMemory(pageSize);
  const server = new PageServer({ port: port1, memory, sources, onStall: options.onStall });
  return { server, ends: { memory, port: port2, pageSize, sources: counts } };
}
