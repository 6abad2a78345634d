/** A checkpoint that a node has, as the inspector looks at it: its state at once, pages as they are asked for. */
import type { CheckpointView, InspectedSpace } from '@revenant/debugger/inspect';
import { openCheckpointBytes, type MachineSnapshot } from '@revenant/storage/browser';

/** As many as a node gives at once. */
const atOnce = 512;
/** Kinds of pages in a node's map. */
export const PageKind = { zero: 0, unchanged: 1, changed: 2, base: 3, cleared: 4 } as const;

/** Reads what the node has at a path. Rejects with Error in words for people. */
export type ReadPath = (path: string) => Promise<Uint8Array<ArrayBuffer>>;

export class RemoteView implements CheckpointView {
  readonly state: Pick<MachineSnapshot, 'cpus' | 'devices' | 'description'>;
  readonly spaces: readonly InspectedSpace[];
  readonly #read: ReadPath;
  readonly #address: string;
  readonly #maps: ReadonlyMap<string, Uint8Array>;

  private constructor(
    read: ReadPath,
    address: string,
    { snapshot, maps }: { snapshot: MachineSnapshot; maps: ReadonlyMap<string, Uint8Array> },
  ) {
    this.#read = read;
    this.#address = address;
    this.state = snapshot;
    this.spaces = snapshot.spaces.map(({ name, pageSize, pageCount }) => ({ name, pageSize, pageCount }));
    this.#maps = maps;
  }

  /** @param address `/v1/vms/ID/checkpoints/EPOCH-SEQUENCE` */
  static async open(read: ReadPath, address: string): Promise<RemoteView> {
    const { snapshot } = await openCheckpointBytes(await read(`${address}/machine`));
    const maps = snapshot.spaces.map(async ({ name }): Promise<[string, Uint8Array]> => [
      name,
      await readMap(read, address, { space: name }),
    ]);
    return new RemoteView(read, address, { snapshot, maps: new Map(await Promise.all(maps)) });
  }

  present(space: string): Uint32Array {
    const kinds = this.#mapOf(space);
    const pages: number[] = [];
    for (let page = 0; page < kinds.length; page++) if (isPresent(kinds[page])) pages.push(page);
    return Uint32Array.from(pages);
  }

  async readPages(space: string, indexes: Uint32Array): Promise<Uint8Array> {
    const { pageSize = 4096 } = this.spaces.find(({ name }) => name === space) ?? {};
    const kinds = this.#mapOf(space);
    const bytes = new Uint8Array(indexes.length * pageSize);
    // What is zero needs no asking.
    const wanted = [...indexes.keys()].filter((n) => isPresent(kinds[indexes[n]!]));
    for (let from = 0; from < wanted.length; from += atOnce) {
      const places = wanted.slice(from, from + atOnce);
      const asked = places.map((n) => String(indexes[n]!)).join(',');
      const came = await this.#read(`${this.#address}/pages?space=${space}&indexes=${asked}`);
      for (const [n, place] of places.entries())
        bytes.set(came.subarray(n * pageSize, (n + 1) * pageSize), place * pageSize);
    }
    return bytes;
  }

  /** A byte for each page of a space, one of `PageKind`. */
  #mapOf(space: string): Uint8Array {
    return this.#maps.get(space) ?? new Uint8Array(0);
  }
}

function isPresent(kind: number | undefined): boolean {
  return kind !== undefined && kind !== PageKind.zero && kind !== PageKind.cleared;
}

/** Kinds of a space's pages, against those of an earlier checkpoint if one is named. */
export function readMap(
  read: ReadPath,
  address: string,
  { space, before }: { space: string; before?: string },
): Promise<Uint8Array> {
  return read(`${address}/map?space=${space}${before === undefined ? '' : `&before=${before}`}`);
}
