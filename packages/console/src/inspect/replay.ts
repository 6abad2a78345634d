/**
 * One checkpoint of the cluster that is run again in this worker, with what came in behind it, to any moment up to the end of its log; further
 * moments, earlier or later, are gone to from where it stands. The living VM is not touched.
 */
import { decodeLog, restoreMachine, type EngineFactory, type Machine } from '@revenant/emulator';
import { ConsoleOnce, History, machineView, TimeMachine, type StopKind } from '@revenant/debugger/time';
import type { CheckpointView } from '@revenant/debugger/inspect';
import { bytesOf, type NodeAccess } from '../shared/node-files.ts';
import { RemoteCheckpoint } from '../shared/remote-checkpoint.ts';
import type { Replayed } from './messages.ts';

/** A replay that mostly goes forward needs few bookmarks. */
const bookmarksEvery = 200_000_000n;
const maxBookmarkBytes = 256 * 2 ** 20;
/** So long it runs before it looks whether somebody wants it elsewhere. */
const turnMs = 30;

/** Why it stands before the moment that was asked for. */
const endings: Partial<Record<StopKind, string>> = {
  begin: 'the checkpoint is later than that',
  end: 'the log of what came in ends here',
  idle: 'the guest waits for an input that is not in the log',
  halted: 'the guest halted its processor with interrupts off',
  powerOff: 'the guest powered off',
  shutdown: 'the guest shut its processor down (triple fault)',
  reset: 'the guest reset its machine; how it boots is in no checkpoint',
};

interface Said {
  count: bigint;
  bytes: Uint8Array;
}

export class Replay {
  readonly #target: TimeMachine;
  readonly #said: readonly Said[];
  readonly #to: bigint;
  /** Rises with each moment that is asked for: who is no longer wanted stops. */
  #wanted = 0;

  private constructor(target: TimeMachine, said: readonly Said[], to: bigint) {
    this.#target = target;
    this.#said = said;
    this.#to = to;
  }

  /**
   * @param address `/v1/vms/ID/checkpoints/EPOCH-SEQUENCE`
   * @throws Error in words for people
   */
  static async open(node: NodeAccess, address: string, engine: EngineFactory): Promise<Replay> {
    const remote = await RemoteCheckpoint.open(node, address);
    const answer = await bytesOf(await fetch(`${node.origin}${address}/log`, { headers: node.headers }));
    const to = new DataView(answer.buffer).getBigUint64(0, true);
    const history = new History(decodeLog(answer.subarray(8)));
    const said: Said[] = [];
    const once = new ConsoleOnce((bytes, count) => void said.push({ count, bytes: bytes.slice() }));
    const { snapshot, absent, disks } = remote;
    const backends = { disks, input: history.record, output: once.take };
    const machine = await restoreMachine({ snapshot, absent, backends, engine });
    if (to <= machine.instructions)
      throw new Error(
        'no log of what came in behind this checkpoint is kept: the outputs of its VM must wait for the log, or for a standby',
      );
    const options = { machine, history, end: to, every: bookmarksEvery, maxBytes: maxBookmarkBytes };
    return new Replay(new TimeMachine(options), said, to);
  }

  get #machine(): Machine {
    return this.#target.machine;
  }

  /** The machine where it stands. */
  get view(): CheckpointView {
    return machineView(this.#machine);
  }

  /** To a virtual time. Undefined: somebody wanted another moment meanwhile. @param progress is told the virtual time that it has come to */
  async goTo(ms: number, progress: (ms: number) => void): Promise<Replayed | undefined> {
    const wanted = ++this.#wanted;
    const steps = this.#target.goToTime(BigInt(Math.round(ms * 1e6)));
    let lookAt = performance.now() + turnMs;
    for (;;) {
      const step = steps.next();
      if (step.done === true) return this.#here(endings[step.value.kind] ?? '');
      if (performance.now() < lookAt) continue;
      progress(this.#timeMs);
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (wanted !== this.#wanted) {
        steps.return({ kind: 'step' });
        return undefined;
      }
      lookAt = performance.now() + turnMs;
    }
  }

  get #timeMs(): number {
    return Number(this.#machine.timeNs) / 1e6;
  }

  #here(ended: string): Replayed {
    const { count } = this.#target;
    const serial = this.#said.filter((piece) => piece.count <= count).map(({ bytes }) => bytes);
    const picture = this.#machine.display.picture();
    return {
      virtualMs: this.#timeMs,
      instructions: String(count),
      known: String(this.#to),
      ended,
      serial: new TextDecoder('utf-8').decode(joined(serial)),
      ...(picture === undefined
        ? {}
        : { picture: { ...picture, rgba: Uint8ClampedArray.from(picture.rgba) } }),
    };
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
