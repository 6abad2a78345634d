/**
 * Store URLs:
 *   memory:                      one of its own;  memory:NAME  the same one for each opener in this process
 *   file:/var/lib/revenant       a directory, local or NFS (mounted with noac)
 *   s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=R&create=1
 * S3 credentials come from AWS_ACCESS_KEY_ID / AWS_SECRET_ACCESS_KEY or the SDK's other usual places, never from the URL.
 */
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { isStoreError, StoreError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { FileStore } from './file-store.ts';
import type { FileSystem } from './file-system.ts';
import { initStore, isStore } from './identity.ts';
import { MemoryStore } from './memory-store.ts';
import type { ObjectStore } from './object-store.ts';
import { probeStore } from './probe.ts';

export interface OpenStoreOptions {
  /** false: skip the admission probe (it was admitted before, or it is only read). Default true. */
  probe?: boolean;
  /**
   * true: makes the store when there is none, and gives it an identity. false: a place without a store is refused as `NO_STORE`, and
   * nothing is written to it. Default: as `probe`.
   */
  create?: boolean;
  /** How a directory's files are reached. Default: many operations at once, by Node's pool of threads. */
  files?: FileSystem;
  host?: StorageHost;
}

/** `memory:NAME` stores of this process. Deliberately shared: that is what the name is for. */
const named = new Map<string, MemoryStore>();

/**
 * Opens a store by its URL and admits it (see probe.ts).
 * @throws StoreError `BAD_URL`, `NO_STORE`, `NOT_ADMITTED`, or what the driver says.
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<ObjectStore> {
  const { probe = true, create = probe, host = systemHost } = options;
  const store = await connect(url, create, options.files);
  try {
    if (!create && !(await isStore(store))) throw noStore(url);
    if (probe) await probeStore(store, host);
    if (create) await initStore(store, host);
    return store;
  } catch (error) {
    await store.close();
    // The bucket is not there.
    throw isStoreError(error, 'NO_STORE') ? noStore(url) : error;
  }
}

async function connect(url: string, create: boolean, files: FileSystem | undefined): Promise<ObjectStore> {
  const scheme = /^([a-z0-9]+):/.exec(url)?.[1];
  switch (scheme) {
    case 'memory':
      return openMemory(url, create);
    case 'file':
      return openFile(url, create, files);
    case 's3':
      return openS3(url, create);
    default:
      throw badUrl(url, 'unknown kind of store');
  }
}

async function openFile(url: string, create: boolean, files: FileSystem | undefined): Promise<FileStore> {
  const path = pathOf(url);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!create && !isFolder) throw noStore(url);
  return FileStore.open(path, { create, ...(files && { files }) });
}

function openMemory(url: string, create: boolean): MemoryStore {
  if (url === 'memory:') return new MemoryStore();
  const known = named.get(url);
  if (known === undefined && !create) throw noStore(url);
  const found = known ?? new MemoryStore(url);
  named.set(url, found);
  return found;
}

function pathOf(url: string): string {
  const path = url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length);
  if (path === '') throw badUrl(url, 'a directory is missing');
  return path;
}

async function openS3(url: string, create: boolean): Promise<ObjectStore> {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw badUrl(url, 'it cannot be parsed');
  }
  if (parsed.hostname === '') throw badUrl(url, 'a bucket is missing');
  const { S3Store } = await import('./s3-store.ts');
  const endpoint = parsed.searchParams.get('endpoint');
  const region = parsed.searchParams.get('region');
  return S3Store.open({
    bucket: parsed.hostname,
    prefix: parsed.pathname.replace(/^\/+|\/+$/g, ''),
    createBucket: create && parsed.searchParams.get('create') === '1',
    ...(endpoint === null ? {} : { endpoint }),
    ...(region === null ? {} : { region }),
  });
}

function noStore(url: string): StoreError {
  return new StoreError('NO_STORE', `there is no store at ${url.split('?')[0]!}`, {
    hint: 'check the address; the first node of a cluster makes its store, or `revenant store init` does',
  });
}

function badUrl(url: string, why: string): StoreError {
  return new StoreError('BAD_URL', `store ${JSON.stringify(url)}: ${why}`, {
    hint: 'use memory:, file:/a/directory or s3://bucket/prefix?endpoint=http://host:port',
  });
}
