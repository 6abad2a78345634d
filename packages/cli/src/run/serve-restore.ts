/**
 * Serves one checkpoint of a store to another thread, which goes on from it: first what a machine needs at once, then the pages that it asks
 * for and, in the background, all others. While the store fails the guest waits; that is said, and when it is over.
 */
import type { MessagePort } from 'node:worker_threads';
import { LazyRam, servePages } from '@revenant/cluster';
import {
  PagePool,
  type CheckpointKey,
  type CheckpointReader,
  type MachineSnapshot,
  type ObjectStore,
  type PageChannelEnds,
  type StallEvent,
} from '@revenant/storage';
import { asCliError } from '../failures.ts';
import { CliError, ExitCode } from '../errors.ts';

export type FromStoreThread =
  | { type: 'ready'; snapshot: MachineSnapshot; absent: Uint32Array; ends: PageChannelEnds }
  /** Pages that nobody asked for; the next come when these are taken. */
  | { type: 'pages'; indexes: Uint32Array; bytes: Uint8Array }
  | { type: 'failed'; exitCode: ExitCode; message: string; hint: string | undefined };

export interface ToStoreThread {
  type: 'taken';
}

export interface RestoreService {
  /** To the thread that runs the guest. */
  port: Pick<MessagePort, 'postMessage' | 'on'>;
  open: () => Promise<{ store: ObjectStore; reader: CheckpointReader; key?: CheckpointKey | undefined }>;
  /** Must reach the person at once: the other thread, which has the streams, may be asleep. */
  say: (line: string) => void;
}

/** Never throws: what goes wrong is told to the other thread. */
export async function serveRestore(service: RestoreService): Promise<void> {
  const tell = (message: FromStoreThread, moved: MessagePort[] = []): void => {
    service.port.postMessage(message, moved);
  };
  try {
    await serve(service, tell);
  } catch (error) {
    const { exitCode, message, hint } = asCliError(error);
    tell({ type: 'failed', exitCode, message, hint });
  }
}

async function serve(
  { port, open, say }: RestoreService,
  tell: (message: FromStoreThread, moved?: MessagePort[]) => void,
): Promise<void> {
  const { store, reader, key } = await open();
  const lazy = await LazyRam.open(reader);
  if (lazy === undefined)
    throw new CliError(ExitCode.badInput, `${reader.vmId} is no machine`, 'name a VM that has RAM');
  const { snapshot, absent } = lazy;
  const served = await servePages(store, snapshot.description, {
    pool: new PagePool(),
    key,
    ram: lazy,
    onStall: stallTeller(say),
  });
  if (served === undefined) throw new TypeError('RAM is always served');
  const { ends } = served;
  let taken: () => void = () => undefined;
  port.on('message', () => {
    taken();
  });
  tell({ type: 'ready', snapshot, absent, ends }, [ends.port]);
  await lazy.runBackground(
    ({ indexes, bytes }) =>
      new Promise((resolve) => {
        taken = resolve;
        tell({ type: 'pages', indexes, bytes });
      }),
  );
}

/** Each wait is said once, however often the store is tried. */
function stallTeller(say: (line: string) => void): (event: StallEvent) => void {
  let waits = false;
  return ({ kind, what, reason, forMs }) => {
    if (kind === 'resumed')
      say(`the guest goes on after ${(forMs / 1000).toFixed(1)} s: the store answers again`);
    else if (!waits)
      say(`the guest waits for the store (${what}: ${reason}); 'kill ${String(process.pid)}' ends it`);
    waits = kind === 'stalled';
  };
}
