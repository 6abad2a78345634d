/**
 * What a store keeps of a VM's past: checkpoints, and the input log behind them. Any moment from the oldest kept checkpoint to the end of the log is
 * there, on any host; the living VM is not touched.
 */
import { readLogBehind, type LogBehind } from '@revenant/cluster';
import { ConsoleOnce, History, TimeMachine } from '@revenant/debugger/time';
import type { LoggedInput, Machine } from '@revenant/emulator';
import { formatId, listCheckpoints, type ListedCheckpoint, type ManifestHead } from '@revenant/storage';
import { parseTarget, type Opener } from '../checkpoint/opener.ts';
import { CliError, ExitCode } from '../errors.ts';
import { readyGuest, type GuestBackends, type ReadyGuest } from '../run/guest.ts';

/** A checkpoint that counts, and is intact as far as its head tells. */
export interface Moment {
  /** `VM@EPOCH-SEQUENCE` */
  name: string;
  head: ManifestHead;
}

export interface Run {
  target: TimeMachine;
  /** Up to this count it is known what came in. */
  to: bigint;
  close(): Promise<void>;
}

/** A machine at a checkpoint, and what came in behind that. */
export interface Again {
  machine: Machine;
  log: readonly LoggedInput[];
  /** As of a `Run`. */
  to: bigint;
  close(): Promise<void>;
}

export interface RunFrom {
  say: (line: string) => void;
  /** What the guest's first serial port says, each byte once. */
  console?: (bytes: Uint8Array, count: bigint) => void;
  /** It is for a debugger: where no log was kept, the machine goes on into a future of its own; steps back are quick. */
  debugged?: boolean;
}

/** So far apart: a replay that only goes forward needs few. */
const bookmarksEvery = 200_000_000n;

export class Past {
  readonly vmId: string;
  /** Oldest first. */
  readonly moments: readonly Moment[];
  readonly #opener: Opener;
  readonly #url: string;

  private constructor(parts: { vmId: string; moments: Moment[]; opener: Opener; url: string }) {
    this.vmId = parts.vmId;
    this.moments = parts.moments;
    this.#opener = parts.opener;
    this.#url = parts.url;
  }

  /** Throws CliError for a VM that is not there, or has no checkpoint. */
  static async open(opener: Opener, vmId: string): Promise<Past> {
    const store = await opener.store();
    await opener.requireVm(vmId);
    const listed = await listCheckpoints(store, vmId, { key: await opener.key() });
    const intact = (each: ListedCheckpoint): each is ListedCheckpoint & { head: ManifestHead } =>
      each.counts && each.head !== undefined && each.damaged === undefined;
    const moments = listed.filter(intact).map(({ id, head }) => ({ name: `${vmId}@${formatId(id)}`, head }));
    if (moments.length === 0)
      throw new CliError(
        ExitCode.refused,
        `${vmId} has no intact checkpoint`,
        "'checkpoint list' shows what is there",
      );
    return new Past({ vmId, moments, opener, url: store.url });
  }

  get oldest(): Moment {
    return this.moments[0]!;
  }
  get newest(): Moment {
    return this.moments.at(-1)!;
  }

  /** The checkpoint that a person named: `VM@N`, `N` or `EPOCH-N`. */
  named(word: string): Moment {
    const { which } = parseTarget(word.includes('@') ? word : `${this.vmId}@${word}`);
    const found = this.moments.findLast(
      ({ name, head }) =>
        which === undefined ||
        name.endsWith(`@${which}`) ||
        String(head.id.sequence) === which ||
        formatId(head.id) === which,
    );
    if (found !== undefined) return found;
    throw new CliError(
      ExitCode.refused,
      `${this.vmId}: there is no checkpoint ${word}`,
      `it has ${formatId(this.oldest.head.id)} to ${formatId(this.newest.head.id)}`,
    );
  }

  /** The newest checkpoint at or before a moment; the oldest when there is none. */
  before(isBefore: (head: ManifestHead) => boolean): Moment {
    return this.moments.findLast(({ head }) => isBefore(head)) ?? this.oldest;
  }

  /** A machine at a checkpoint, with what came in behind it. */
  async run(moment: Moment, { say, console, debugged = false }: RunFrom): Promise<Run> {
    const { behind, to } = await this.#behind(moment);
    const history = new History(behind?.log);
    const once = new ConsoleOnce((bytes, count) => console?.(bytes, count));
    const { machine, restoring } = await this.#ready(
      moment,
      { output: once.take, input: history.record },
      say,
    );
    const onFuture = (): void => {
      once.forget();
    };
    const target = new TimeMachine({
      machine,
      history,
      onFuture,
      ...(debugged && behind === undefined ? {} : { end: to }),
      ...(debugged ? {} : { every: bookmarksEvery }),
    });
    return {
      target,
      to,
      close: async () => {
        await restoring?.close();
      },
    };
  }

  /** A machine that only goes forward. */
  async again(moment: Moment, say: (line: string) => void): Promise<Again> {
    const { behind, to } = await this.#behind(moment);
    const { machine, restoring } = await this.#ready(moment, { output: () => true }, say);
    return { machine, log: behind?.log ?? [], to, close: async () => restoring?.close() };
  }

  async #behind({ name, head }: Moment): Promise<{ behind: LogBehind | undefined; to: bigint }> {
    const reader = await this.#opener.checkpoint(name);
    const behind = await readLogBehind(await this.#opener.store(), reader, await this.#opener.key());
    await this.#opener.done(reader);
    return { behind, to: behind?.to ?? head.instructions };
  }

  #ready({ name }: Moment, backends: GuestBackends, say: (line: string) => void): Promise<ReadyGuest> {
    return readyGuest(
      { restore: name, store: this.#url, serial: { kind: 'none' }, engine: 'translator' },
      backends,
      say,
    );
  }
}
