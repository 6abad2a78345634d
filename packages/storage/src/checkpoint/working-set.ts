/**
 * The recorded working set: the pages that a VM used of late, or touched first after a resume. Advice only; a restore without it is
 * slower, not wrong. So it is overwritten without conditions, and a damaged one counts as none.
 */
import { isRecord } from '../codec.ts';
import type { CheckpointKey } from '../encryption.ts';
import { openEnvelope, sealEnvelope } from '../envelope.ts';
import { isStorageError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { insist } from '../insist.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { workingSetKey } from './keys.ts';

/** Page numbers by space, those first that are needed first. */
export type WorkingSet = Record<string, Uint32Array>;

const magic = 'RVWS';

export async function saveWorkingSet(
  store: ObjectStore,
  vmId: string,
  set: WorkingSet,
  options: { key?: CheckpointKey | undefined; host?: StorageHost } = {},
): Promise<void> {
  const name = workingSetKey(vmId);
  const host = options.host ?? systemHost;
  insist(isWorkingSet(set), `${name}: it does not say which pages`);
  await store.put(name, sealEnvelope({ spaces: set }, { magic: magic, name, key: options.key, host }));
}

export async function readWorkingSet(
  store: ObjectStore,
  vmId: string,
  key: CheckpointKey | undefined,
): Promise<WorkingSet> {
  const name = workingSetKey(vmId);
  const object = await store.get(name);
  if (object === undefined) return {};
  try {
    const value = openEnvelope(object.body, { magic: magic, name, key });
    const spaces = isRecord(value) ? value['spaces'] : undefined;
    return isWorkingSet(spaces) ? spaces : {};
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED')) return {};
    throw error;
  }
}

/** Asked of what is written and of what is read. */
const isWorkingSet = (value: unknown): value is WorkingSet =>
  isRecord(value) && Object.values(value).every((pages) => pages instanceof Uint32Array);
