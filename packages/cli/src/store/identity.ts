/** What a store says of itself, for people and for programs. */
import { readIdentity, type ObjectStore } from '@revenant/storage';
import { fields } from '../output/print.ts';
import { timeText } from '../output/text.ts';

export interface ShownStore {
  store: string;
  /** Null: it was made by a version whose stores had no identity. */
  id: string | null;
  createdAtMs: number | null;
  cluster: string | null;
}

export async function identityOf(store: ObjectStore): Promise<ShownStore> {
  const identity = await readIdentity(store);
  return {
    store: store.url,
    id: identity?.id ?? null,
    createdAtMs: identity?.createdAtMs ?? null,
    cluster: identity?.cluster ?? null,
  };
}

export function identityText({ store, id, createdAtMs, cluster }: ShownStore): string {
  return fields([
    ['store', store],
    ['identity', id ?? 'none: made by an older version'],
    ['created', createdAtMs === null ? 'unknown' : `${timeText(createdAtMs)} UTC`],
    ['cluster', cluster ?? 'none yet'],
  ]);
}
