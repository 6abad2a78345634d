/**
 * A checkpoint that a node has, opened in the tab: processor, devices and the pages that the guest needs first come at once, the others when
 * it touches them, and in the background between its slices. The guest here is detached: nothing of it goes back to the cluster.
 */
import type { AbsentPages, DiskBacking } from '@revenant/emulator';
import { openCheckpointBytes, type MachineSnapshot } from '@revenant/storage/browser';
import { bytesOf, refusalOf, type NodeAccess } from './node-files.ts';

const pageBytes = 4096;
/** Pages behind one that is missed come with it. */
const ahead = 32;
/** As many as a node gives at once. */
const inBackground = 512;

export interface PageDelivery {
  indexes: Uint32Array;
  bytes: Uint8Array;
}

/** At once: the guest stands still meanwhile, as a machine does that waits for its memory. Only workers may ask so. */
function fetchNow(node: NodeAccess, path: string): Uint8Array {
  const request = new XMLHttpRequest();
  request.open('GET', node.origin + path, false);
  for (const [name, value] of Object.entries(node.headers)) request.setRequestHeader(name, value);
  request.responseType = 'arraybuffer';
  request.send();
  if (request.status === 200) return new Uint8Array(request.response as ArrayBuffer);
  throw refusalOf(request.status, new TextDecoder().decode(request.response as ArrayBuffer));
}

async function fetchBytes(node: NodeAccess, path: string): Promise<Uint8Array<ArrayBuffer>> {
  return bytesOf(await fetch(node.origin + path, { headers: node.headers }));
}

export class RemoteCheckpoint {
  readonly snapshot: MachineSnapshot;
  readonly absent: AbsentPages;
  readonly #node: NodeAccess;
  readonly #address: string;
  /** Pages that came ahead of their need. */
  readonly #came = new Map<number, Uint8Array>();

  private constructor(node: NodeAccess, address: string, snapshot: MachineSnapshot, indexes: Uint32Array) {
    this.#node = node;
    this.#address = address;
    this.snapshot = snapshot;
    this.absent = { indexes, read: (page) => this.#read(page) };
  }

  /** @param address `/v1/vms/ID/checkpoints/EPOCH-SEQUENCE`, or `…/latest` */
  static async open(node: NodeAccess, address: string): Promise<RemoteCheckpoint> {
    const { snapshot, origin } = await openCheckpointBytes(await fetchBytes(node, `${address}/state`));
    const named = address.replace(/[^/]*$/, origin.checkpoint ?? 'none');
    const late = await fetchBytes(node, `${named}/absent`);
    return new RemoteCheckpoint(node, named, snapshot, new Uint32Array(late.buffer));
  }

  /** What the disks' base images are read from. */
  get disks(): Record<string, DiskBacking> {
    const based = this.snapshot.spaces.filter(({ onBase }) => onBase === true);
    return Object.fromEntries(
      based.map(({ name }) => [
        name,
        { readPage: (page: number) => fetchNow(this.#node, this.#pages(name, Uint32Array.of(page))) },
      ]),
    );
  }

  /** Everything that nobody asked for, piece by piece. Throws Error when the node gives no more. */
  async *rest(): AsyncGenerator<PageDelivery, void> {
    const { indexes } = this.absent;
    for (let at = 0; at < indexes.length; at += inBackground) {
      const some = indexes.slice(at, at + inBackground);
      yield { indexes: some, bytes: await fetchBytes(this.#node, this.#pages('ram', some)) };
    }
  }

  #pages(space: string, indexes: Uint32Array): string {
    return `${this.#address}/pages?space=${space}&indexes=${indexes.join(',')}`;
  }

  #read(page: number): Uint8Array {
    const known = this.#came.get(page);
    if (known !== undefined) {
      this.#came.delete(page);
      return known;
    }
    const { indexes } = this.absent;
    const at = indexes.indexOf(page);
    const wanted = indexes.slice(at, at + ahead);
    const bytes = fetchNow(this.#node, this.#pages('ram', wanted));
    for (const [n, index] of wanted.entries())
      if (n > 0) this.#came.set(index, bytes.slice(n * pageBytes, (n + 1) * pageBytes));
    return bytes.slice(0, pageBytes);
  }
}
