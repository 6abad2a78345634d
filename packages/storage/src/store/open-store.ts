// Store URLs:
//   memory:                      one of its own;  memory:NAME  the same one for each opener in this process
//   file:/var/lib/revenant       a directory, local or NFS (mounted with noac)
//   s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=R&create=1
// S3 credentials come from AWS_ACCESS_KEY_ID / AWS_SECRET_ACCESS_KEY or the SDK's other usual places, never from the URL.
import { fileURLToPath } from 'node:url';
import { StoreError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { FileStore } from './file-store.ts';
import { MemoryStore } from './memory-store.ts';
import type { ObjectStore } from './object-store.ts';
import { probeStore } from './probe.ts';

export interface OpenStoreOptions {
  /** false: skip the admission probe (it was admitted before, or it is only read). Default true. */
  probe?: boolean;
  host?: StorageHost;
}

/** `memory:NAME` stores of this process. Deliberately shared: that is what the name is for. */
const named = new Map<string, MemoryStore>();

/**
 * Opens a store by its URL and admits it (see probe.ts).
 * @throws StoreError `BAD_URL`, `NOT_ADMITTED`, or what the driver says.
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<ObjectStore> {
  const store = await connect(url);
  if (options.probe === false) return store;
  try {
    await probeStore(store, options.host ?? systemHost);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function connect(url: string): Promise<ObjectStore> {
  const scheme = /^([a-z0-9]+):/.exec(url)?.[1];
  switch (scheme) {
    case 'memory':
      return openMemory(url);
    case 'file':
      return FileStore.open(pathOf(url));
    case 's3':
      return openS3(url);
    default:
      throw badUrl(url, 'unknown kind of store');
  }
}

function openMemory(url: string): MemoryStore {
  if (url === 'memory:') return new MemoryStore();
  const found = named.get(url) ?? new MemoryStore(url);
  named.set(url, found);
  return found;
}

function pathOf(url: string): string {
  const path = url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length);
  if (path === '') throw badUrl(url, 'a directory is missing');
  return path;
}

async function openS3(url: string): Promise<ObjectStore> {
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
    createBucket: parsed.searchParams.get('create') === '1',
    ...(endpoint === null ? {} : { endpoint }),
    ...(region === null ? {} : { region }),
  });
}

function badUrl(url: string, why: string): StoreError {
  return new StoreError('BAD_URL', `store ${JSON.stringify(url)}: ${why}`, {
    hint: 'use memory:, file:/a/directory or s3://bucket/prefix?endpoint=http://host:port',
  });
}
