/** Records of the cluster in the store, checked as they are read and before they are stored. */
import type * as v from 'valibot';
import { checkedRecord, getRecord, listAll, type CheckedRecord, type ObjectStore } from '@revenant/storage';
import { nodesPrefix } from '../decisions/records.ts';
import { nodeRecordSchema, type NodeRecord } from '../protocol/records.ts';
import { checkTold } from '../protocol/open.ts';

export interface Stored<T> {
  value: T;
  version: string;
}

/** Throws ClusterError `PROTOCOL` for a record that does not fit: damaged, or of another release. */
export async function readStored<T extends v.GenericSchema>(
  store: ObjectStore,
  key: string,
  schema: T,
): Promise<Stored<v.InferOutput<T>> | undefined> {
  const found = await getRecord(store, key);
  if (found === undefined) return undefined;
  const { nonce: _nonce, ...value } = found.value;
  return { value: checkTold(schema, value, `the record ${key}`), version: found.version };
}

/**
 * A record as it is to be stored: it fits what readers check it by, for one that nobody could read would be the end of what it is about.
 * @throws ClusterError `PROTOCOL` for a fault of ours
 */
export function storable<T extends v.GenericSchema>(schema: T, value: unknown, what: string): CheckedRecord {
  const fitting = checkTold(schema, value, what) as object;
  return checkedRecord(what, fitting, () => true);
}

export async function readNodeRecords(store: ObjectStore): Promise<NodeRecord[]> {
  const records: NodeRecord[] = [];
  for await (const { key } of listAll(store, nodesPrefix)) {
    const record = await readStored(store, key, nodeRecordSchema);
    if (record !== undefined) records.push(record.value);
  }
  return records;
}
