/** What a takeover replays: all that came in behind the checkpoint that it resumes from, up to the end of the log. */
import {
  LogReader,
  type CheckpointKey,
  type CheckpointReader,
  type ObjectStore,
  type Ownership,
  type ReadEntry,
} from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import type { InputPlaces } from './input-ledger.ts';
import { decodeBatch } from './log-batch.ts';
import { ownState } from '../stored/own-state.ts';
import type { Replay } from './vm-runtime.ts';

/** More than a guest can be given between two checkpoints that a store takes: beyond it nobody waits for the end of a replay. */
const maxReplayBytes = 512 << 20;

/** Inputs behind a checkpoint, and where the consoles stand after them. */
export interface LogBehind extends Replay {
  places: InputPlaces;
  /** Number that the next entry of the log has. */
  nextInput: bigint;
}

/**
 * Entries in order as inputs of a machine.
 * @param nextInput of the checkpoint: entries below that number are in its state
 * @throws ClusterError, EdgeError for what is no entry of a VM
 */
export function joinBatches(entries: readonly ReadEntry[], nextInput: bigint): Omit<LogBehind, 'to'> {
  const joined: Omit<LogBehind, 'to'> = { log: [], places: {}, nextInput };
  for (const { input, payload } of entries) {
    if (input < nextInput) continue;
    const { log, places } = decodeBatch(payload);
    for (const each of log) joined.log.push(each);
    joined.places = { ...joined.places, ...places };
    joined.nextInput = input + 1n;
  }
  return joined;
}

/**
 * Reads all that an owner has to replay. Undefined: nothing.
 * @throws StorageError `LOG_DAMAGED` for a segment that is missing or damaged on the way; StoreError
 */
export async function readOwnLog(
  store: ObjectStore,
  ownership: Ownership,
  key: CheckpointKey | undefined,
): Promise<{ entries: ReadEntry[]; to: bigint } | undefined> {
  const { vmId, log, chain } = ownership;
  if (log?.last === undefined || log.path === undefined) return undefined;
  const { path, last, torn } = log;
  const after = chain.at(-1)?.head.instructions ?? 0n;
  const reader = new LogReader({ store, vmId, path, last, torn, options: { after, key } });
  const entries: ReadEntry[] = [];
  let bytes = 0;
  for await (const entry of reader.entries()) {
    entries.push(entry);
    bytes += entry.payload.length;
    if (bytes > maxReplayBytes)
      throw new ClusterError('RUNTIME', `more than ${String(maxReplayBytes >> 20)} MiB of log to replay`);
  }
  return { entries, to: last.to };
}

/**
 * What a stored VM was given behind one of its checkpoints, up to the end of its log as it is now; for whoever looks at it from outside.
 * Undefined: no log goes on from there.
 * @throws StorageError `LOG_DAMAGED`, StoreError; ClusterError, EdgeError for what is no entry of a VM
 */
export async function readLogBehind(
  store: ObjectStore,
  reader: CheckpointReader,
  key?: CheckpointKey,
): Promise<LogBehind | undefined> {
  const { instructions } = reader.head;
  const log = await LogReader.open(store, reader.vmId, { after: instructions, base: reader.id.epoch, key });
  if (log === undefined || log.from > instructions || log.to < instructions) return undefined;
  const entries: ReadEntry[] = [];
  for await (const entry of log.entries()) entries.push(entry);
  return { ...joinBatches(entries, BigInt(ownState(reader.state.devices).nextInput)), to: log.to };
}
