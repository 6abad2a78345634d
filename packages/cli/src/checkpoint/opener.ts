/**
 * Which checkpoint a person means: `--store URL VM[@SEQUENCE]`, or an exported file. A file is read into a store in memory, so
 * that every command sees the same thing: an open checkpoint.
 */
import { existsSync } from 'node:fs';
import {
  isStorageError,
  isVisible,
  keyFromEnvironment,
  listCheckpoints,
  listVms,
  openCheckpoint,
  openCheckpointFile,
  openStore,
  PagePool,
  parseId,
  readOwner,
  type CheckpointId,
  type CheckpointKey,
  type CheckpointReader,
  type ObjectStore,
} from '@revenant/storage';
import { jsonOption, text, type Options, type Values } from '../command/options.ts';
import { CliError, ExitCode } from '../errors.ts';

export interface StoreTarget {
  vmId: string;
  /** Undefined: the newest. */
  which: string | undefined;
}

/** `VM`, `VM@latest`, `VM@12` or `VM@3-12`. */
export function parseTarget(word: string): StoreTarget {
  const at = word.lastIndexOf('@');
  if (at < 0) return { vmId: word, which: undefined };
  const which = word.slice(at + 1);
  if (which === 'latest') return { vmId: word.slice(0, at), which: undefined };
  if (!/^(\d{1,10}-)?\d{1,10}$/.test(which))
    throw new CliError(
      ExitCode.usage,
      `'${which}' is no checkpoint`,
      'write VM@SEQUENCE, VM@EPOCH-SEQUENCE or VM@latest, as in vm1@12',
    );
  return { vmId: word.slice(0, at), which };
}

/** Opens stores and checkpoints for one command, and closes all of them. */
export class Opener {
  readonly #url: string | undefined;
  #store: ObjectStore | undefined;
  /** Of all readers of the store. */
  readonly #pool = new PagePool();
  readonly #open: { close(): Promise<void> }[] = [];

  /** @param url of the store; undefined: only files can be opened */
  constructor(url: string | undefined) {
    this.#url = url;
  }

  /** The store that was named. It must be there; one that is to be written is probed. */
  async store(options: { write?: boolean } = {}): Promise<ObjectStore> {
    if (this.#store !== undefined) return this.#store;
    const url = this.#url;
    if (url === undefined)
      throw new CliError(
        ExitCode.usage,
        'no store is named',
        'give --store URL, for example --store file:/srv/revenant, or set REVENANT_STORE',
      );
    this.#store = await openStore(url, { probe: options.write === true, create: false });
    this.#open.push(this.#store);
    return this.#store;
  }

  key(): Promise<CheckpointKey | undefined> {
    return keyFromEnvironment();
  }

  /** True when the word names a file rather than a VM. */
  isFile(word: string): boolean {
    return word.includes('/') || (this.#url === undefined && existsSync(word));
  }

  /** Opens `VM[@WHICH]` of the store, or a file. */
  async checkpoint(word: string): Promise<CheckpointReader> {
    const reader = this.isFile(word) ? await openCheckpointFile(word) : await this.#fromStore(word);
    this.#open.push(reader);
    return reader;
  }

  async #fromStore(word: string): Promise<CheckpointReader> {
    const { vmId, which } = parseTarget(word);
    const store = await this.store();
    const key = await this.key();
    await this.requireVm(vmId);
    const pool = this.#pool;
    if (which === undefined) return openCheckpoint(store, vmId, { key, pool });
    const id = which.includes('-') ? parseId(which) : await this.#bySequence(vmId, Number(which));
    return openCheckpoint(store, vmId, { key, id, pool });
  }

  /** Throws when the store has nothing of a VM: a mistyped name is told from an empty one. */
  async requireVm(vmId: string): Promise<void> {
    const store = await this.store();
    const vms = await listVms(store);
    if (vms.includes(vmId)) return;
    throw new CliError(
      ExitCode.refused,
      `there is no VM '${vmId}' in ${store.url}`,
      vms.length === 0 ? 'the store has no VMs' : `it has: ${vms.slice(0, 20).join(', ')}`,
    );
  }

  /** Sequences rise across epochs; a fenced owner may have left another of the same number that does not count. */
  async #bySequence(vmId: string, sequence: number): Promise<CheckpointId> {
    const store = await this.store();
    const lineage = (await readOwner(store, vmId))?.record.lineage ?? [];
    const ids = (await listCheckpoints(store, vmId, { key: await this.key() })).map(({ id }) => id);
    const found = ids.filter((id) => id.sequence === sequence);
    const id = found.find((each) => isVisible(lineage, each)) ?? found[0];
    if (id !== undefined) return id;
    const last = ids.at(-1);
    throw new CliError(
      ExitCode.refused,
      `${vmId}: there is no checkpoint ${sequence}`,
      last === undefined ? 'it has none' : `its last one is ${last.sequence}; 'checkpoint list' shows all`,
    );
  }

  /** The checkpoint before this one in its chain or, for a full one, by number; undefined when it is the first. */
  async before(word: string, reader: CheckpointReader): Promise<CheckpointReader | undefined> {
    if (this.isFile(word)) return undefined;
    const { parent } = reader.head;
    if (parent === null) return undefined;
    try {
      const before = await openCheckpoint(await this.store(), reader.vmId, {
        key: await this.key(),
        id: parent,
        pool: this.#pool,
      });
      this.#open.push(before);
      return before;
    } catch (error) {
      // Collected since: there is nothing to compare with.
      if (isStorageError(error, 'CHECKPOINT_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** A checkpoint is not needed any more: what is remembered of its packs goes. */
  async done(reader: CheckpointReader): Promise<void> {
    const at = this.#open.indexOf(reader);
    if (at >= 0) this.#open.splice(at, 1);
    await reader.close();
  }

  async close(): Promise<void> {
    for (const each of this.#open.reverse()) await each.close();
    await this.#pool.close();
  }
}

/** Options of every command that looks into checkpoints. */
export const storeOptions = {
  store: text('URL', 'the store of VM[@…] (or REVENANT_STORE), for example file:/srv/revenant'),
  json: jsonOption,
} satisfies Options;

/** Runs `act` with an opener for the store that was named, and closes what it opened. */
export async function inspecting<T>(
  values: Values<typeof storeOptions>,
  act: (opener: Opener) => Promise<T>,
): Promise<T> {
  const opener = new Opener(values.store ?? process.env['REVENANT_STORE']);
  try {
    return await act(opener);
  } finally {
    await opener.close();
  }
}
