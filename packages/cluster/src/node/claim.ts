/**
 * Whose store it is (docs/CLUSTER_PROTOCOL.md, "Whose store"). Nodes of one cluster have the same token, or none and then the same host, as
 * they listen on loopback only. The first node writes this into the identity of the store, and who has another is refused when it starts:
 * a wrong token is found out also while no other node is up, and two clusters never share a store by mistake.
 */
import { scrypt } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  claimStore,
  initStore,
  isStorageError,
  readIdentity,
  systemHost,
  type ObjectStore,
} from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import { readNodeRecords } from '../stored/records.ts';

const withToken = 'token:';
const ofHost = 'host:';
const digestBytes = 16;

export interface ClaimOptions {
  token: string | undefined;
  /** What stands still for so long is over. */
  watchMs: number;
  /** Of this machine. */
  host?: string;
}

/** The token is a secret, so what the store shows of it is dear to guess by, and differs from store to store. */
async function clusterName(storeId: string, { token, host = hostname() }: ClaimOptions): Promise<string> {
  if (token === undefined) return ofHost + (host.replace(/[^\x21-\x7e]/g, '_').slice(0, 100) || 'unnamed');
  const digest = promisify<string, string, number, Buffer>(scrypt);
  return withToken + (await digest(token, `revenant cluster ${storeId}`, digestBytes)).toString('hex');
}

/**
 * Makes a store that of our cluster, or finds that it is.
 * @throws ClusterError `UNAUTHORIZED` when its cluster has another token, `CONFLICT` when it is that of another host's nodes
 */
export async function claimFor(store: ObjectStore, options: ClaimOptions): Promise<void> {
  const { id } = await initStore(store, systemHost);
  const ours = await clusterName(id, options);
  try {
    await claimStore(store, systemHost, ours);
  } catch (error) {
    if (!isStorageError(error, 'STORE_FOREIGN') || error.retryable) throw error;
    const theirs = (await readIdentity(store))?.cluster ?? '';
    if (!theirs.startsWith(ofHost)) throw otherToken(store, options.token);
    // Whoever had it without a token is gone, or it is our own, which from now on has one: nothing secret is lost.
    const living = await livingNodes(store, options.watchMs);
    if (living.length > 0) throw otherHost(store, theirs.slice(ofHost.length), living);
    await claimStore(store, systemHost, ours, theirs);
  }
}

function otherToken(store: ObjectStore, token: string | undefined): ClusterError {
  const has = token === undefined ? 'a token, and this node has none' : 'another token';
  return new ClusterError('UNAUTHORIZED', `the store ${store.url} belongs to a cluster with ${has}`, {
    hint: `give the node that cluster's token (--token-file), or a cluster of its own another store; to change the token, stop all nodes and run \`revenant store release\``,
  });
}

function otherHost(store: ObjectStore, host: string, living: readonly string[]): ClusterError {
  return new ClusterError(
    'CONFLICT',
    `the store ${store.url} is in use by another cluster: of ${living.join(', ')} on ${host}, without a token`,
    {
      hint: 'give this cluster a store of its own; nodes on several hosts are one cluster when they have one token (--token-file) and --listen',
    },
  );
}

/** Nodes whose records go on while they are watched. */
export async function livingNodes(store: ObjectStore, watchMs: number): Promise<string[]> {
  const before = new Map<string, string>();
  const seen = ({ incarnation, counter }: { incarnation: number; counter: number }): string =>
    `${String(incarnation)}.${String(counter)}`;
  for (const record of await readNodeRecords(store))
    if (record.state === 'active') before.set(record.id, seen(record));
  if (before.size === 0) return [];
  await sleep(watchMs);
  const after = await readNodeRecords(store);
  return after
    .filter((record) => record.state === 'active' && before.get(record.id) !== seen(record))
    .map(({ id }) => id);
}
