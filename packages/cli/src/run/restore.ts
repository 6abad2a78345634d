/**
 * Where `revenant run --restore` goes on from. The guest runs as soon as processor, devices and the pages that it needs first are in; the
 * others come when it touches them, and in the background between its slices.
 */
import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { describeMachine, type AbsentPages, type DiskBacking, type MachineRequest } from '@revenant/emulator';
import type { MachineSnapshot } from '@revenant/storage';
import { CliError, ExitCode } from '../errors.ts';
import { reopenDisks, type DiskOption } from './disks.ts';
import type { FromStoreThread, ToStoreThread } from './serve-restore.ts';
import type { StoreThreadData } from './store-thread.ts';

const pageBytes = 4096;
/** Below 1 MiB pages are never absent. */
const firstLatePage = 2 ** 20 / pageBytes;

export interface Pages {
  indexes: Uint32Array;
  bytes: Uint8Array;
}

/** A checkpoint that is being restored. */
export interface Restoring {
  /** All but the pages that come later. */
  snapshot: MachineSnapshot;
  absent: AbsentPages;
  /** What the disks' base images are read from. */
  disks: Record<string, DiskBacking>;
  /**
   * Between runs: some of the pages that nobody asked for; undefined when there are none at the moment. Throws CliError, or
   * StorageError, when they can't come any more.
   */
  next(): Pages | undefined;
  close(): Promise<void>;
}

export interface RestoreOptions {
  /** A file, or `VM[@SEQUENCE]` of the store. */
  restore: string;
  /** URL of the store, as named on the command line. */
  store?: string | undefined;
  disks?: readonly DiskOption[] | undefined;
}

/** The store that `--restore` means, or undefined when it means a file. Throws CliError when it could be neither. */
export function storeOf({ restore, store }: RestoreOptions): string | undefined {
  const isPath = restore.includes('/');
  if (isPath && store !== undefined)
    throw new CliError(
      ExitCode.usage,
      `--restore: '${restore}' is a path, and no VM of the store`,
      'leave --store out, or name a VM, for example --restore vm1@12',
    );
  if (isPath) return undefined;
  if (store !== undefined) return store;
  return existsSync(restore) ? undefined : process.env['REVENANT_STORE'];
}

export async function openRestore(options: RestoreOptions): Promise<Restoring> {
  const store = storeOf(options);
  return store === undefined ? restoreFile(options) : restoreFromStore(store, options);
}

async function restoreFile({ restore, disks: given = [] }: RestoreOptions): Promise<Restoring> {
  const { LateCheckpointFile } = await import('@revenant/storage');
  const file = await LateCheckpointFile.open(restore, { space: 'ram', firstPage: firstLatePage });
  try {
    const { snapshot } = file;
    const { disks: described = [] } = snapshot.description as MachineRequest;
    const onImages = describeMachine({ disks: described }).disks.filter(({ name }) =>
      snapshot.spaces.some((space) => space.name === name && space.onBase === true),
    );
    const disks = reopenDisks(given, onImages);
    const pieces = file.pieces();
    return {
      snapshot,
      absent: { indexes: file.late, read: (page) => file.page(page) ?? new Uint8Array(pageBytes) },
      disks: disks.backings,
      next: () => pieces.next().value ?? undefined,
      close: async () => {
        disks.close();
        await file.close();
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function restoreFromStore(url: string, { restore, disks = [] }: RestoreOptions): Promise<Restoring> {
  if (disks.length > 0)
    throw new CliError(ExitCode.usage, '--disk: a checkpoint in a store has its disks', 'leave --disk out');
  const workerData: StoreThreadData = { url, target: restore };
  return restoreFromThread(new Worker(new URL('./store-thread.ts', import.meta.url), { workerData }));
}

/** From a thread in which `serveRestore` runs; ends it when done. This one sleeps while the guest waits for a page. */
export async function restoreFromThread(worker: Worker): Promise<Restoring> {
  const arrived: Pages[] = [];
  let failed: Error | undefined;
  const ready = await new Promise<Extract<FromStoreThread, { type: 'ready' }>>((resolve, reject) => {
    const fail = (error: Error): void => {
      failed ??= error;
      reject(failed);
    };
    worker.on('message', (message: FromStoreThread) => {
      if (message.type === 'ready') resolve(message);
      else if (message.type === 'pages') arrived.push(message);
      else fail(new CliError(message.exitCode, message.message, message.hint));
    });
    worker.on('error', fail);
  });
  // It serves as long as the guest runs, and does not keep the command alive.
  worker.unref();
  const { PageClient } = await import('@revenant/storage');
  const client = new PageClient(ready.ends);
  const names = Object.keys(ready.ends.sources);
  const taken: ToStoreThread = { type: 'taken' };
  return {
    snapshot: ready.snapshot,
    absent: {
      indexes: ready.absent,
      read: (page) => client.page('ram', page) ?? new Uint8Array(pageBytes),
    },
    disks: Object.fromEntries(
      names.map((name) => [
        name,
        { readPage: (page) => client.page(name, page), pageCount: client.pageCount(name) },
      ]),
    ),
    next: () => {
      if (failed !== undefined) throw failed;
      const pages = arrived.shift();
      if (pages !== undefined) worker.postMessage(taken);
      return pages;
    },
    close: async () => {
      await worker.terminate();
    },
  };
}
