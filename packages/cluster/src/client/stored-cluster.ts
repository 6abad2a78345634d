/** The cluster as its store shows it, for when no node answers: what it holds, and commands that take effect when a node starts. */
import { isStoreError, putRecord, systemHost, type ObjectStore } from '@revenant/storage';
import { commandStored, type Command } from '../decisions/commands.ts';
import type { Host } from '../decisions/placement.ts';
import { emptyList, protectedKey } from '../decisions/records.ts';
import { ClusterError } from '../errors.ts';
import type { ClusterStatus } from '../protocol/api.ts';
import { protectedListSchema, type ProtectedList } from '../protocol/records.ts';
import { protocolVersion } from '../protocol/version.ts';
import { requireBlobs } from '../stored/blobs.ts';
import { EventLog } from '../stored/event-log.ts';
import { readNodeRecords, readStored, storable } from '../stored/records.ts';

/** Tries against others who change the list at the same time. */
const maxTries = 16;
/** In the event log, as whose word. */
const client = 'store-client';

interface StoredList {
  list: ProtectedList;
  version: string | undefined;
}

async function readList(store: ObjectStore): Promise<StoredList> {
  const found = await readStored(store, protectedKey, protectedListSchema);
  if (found === undefined) return { list: emptyList(), version: undefined };
  return { list: found.value, version: found.version };
}

/** What the store holds: nodes by their last records, VMs as they were wanted and last known. */
export async function storedStatus(store: ObjectStore): Promise<ClusterStatus> {
  const [{ list }, records] = await Promise.all([readList(store), readNodeRecords(store)]);
  return {
    version: protocolVersion,
    node: null,
    term: list.term,
    master: list.master?.node ?? null,
    nodes: records.map(({ id, state, incarnation, view }) => ({
      id,
      state: state === 'active' ? 'unreachable' : state === 'left' ? 'left' : 'dead',
      reason: `does not answer; its record says ${state}`,
      incarnation,
      address: view.address,
      view: state === 'active' ? view : { ...view, powerOn: [], reports: [] },
    })),
    vms: Object.values(list.vms),
    maintenance: list.maintenance,
    ...(list.removed === undefined ? {} : { removed: list.removed }),
    ...(list.disarmed === undefined ? {} : { disarmed: list.disarmed }),
    ...(list.balancing === undefined ? {} : { balancing: list.balancing }),
    networks: list.networks,
    heartbeatStores: [],
  };
}

/**
 * Carries a command out on the stored list, once, however often it is repeated with its id.
 * @throws ClusterError as `commandStored` does; StoreError, after which it may be repeated with the same id
 */
export async function commandThroughStore(
  store: ObjectStore,
  request: { id: string; command: Command },
): Promise<void> {
  if (request.command.type === 'vm-create') await requireBlobs(store, request.command.spec);
  const records = await readNodeRecords(store);
  const hosts = records.map(({ id, incarnation, view }): Host => {
    const { capacity, pressure, reads, runtimes } = view;
    return { id, incarnation, state: 'unreachable', capacity, pressure, reads, runtimes };
  });
  for (let tries = 0; tries < maxTries; tries++) {
    const { list, version } = await readList(store);
    const { list: next, answer } = commandStored(list, request, hosts);
    if (next === undefined) return throwAnswer(answer.error);
    try {
      const value = storable(protectedListSchema, next, 'the protected list');
      await putRecord(store, systemHost, protectedKey, value, version);
      return await note(store, request.command);
    } catch (error) {
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
  }
  throw new ClusterError('CONFLICT', 'the protected list changes too fast', { retryable: true });
}

function throwAnswer(error: { code: string; message: string } | null): void {
  if (error !== null) throw new ClusterError(error.code as ClusterError['code'], error.message);
}

async function note(store: ObjectStore, command: Command): Promise<void> {
  const events = new EventLog(store, client);
  const vm = 'vmId' in command ? { vm: command.vmId } : {};
  events.add({
    event: `command-${command.type}`,
    ...vm,
    reason: 'asked by a person through the store, as no node answered',
  });
  await events.close();
}
