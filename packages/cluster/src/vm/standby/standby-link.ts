/**
 * From a VM's owner to its standby: sends the log as it is made, hears how far it is held, and wants it noted in the owner record that outputs
 * rest on that (owner-note.ts). Without the note they wait for the store: whoever else took the VM over would know nothing of what only the
 * standby has.
 */
import type { LogEntry } from '@revenant/storage';
import type { LogEntry as EventEntry } from '../../decisions/types.ts';
import type { NodeSession, StandbyCondition } from '../../protocol/records.ts';
import type { StandbyAck, StandbyMessage } from '../../protocol/standby.ts';
import type { InputPlaces } from '../input-ledger.ts';
import { monotonicMs } from '../vm-runtime.ts';
import { Feed, type Reached } from './feed.ts';
import type { OwnerNote } from './owner-note.ts';
import { packNumbers, type StateSums } from './state-sums.ts';
import { owned } from '../../owned.ts';

/** How often something is said though there is nothing new, and the standby's condition looked at. */
const lookMs = 100;
/** A condition that lasts so long is told, and that of one that lags noted: a moment's lag is none. */
const toldAfterMs = 1000;
/** Larger sums are not sent: the next ones are believed. */
const maxSumBytes = 2 << 20;

export interface StandbyFigures {
  node: string;
  condition: StandbyCondition;
  reason: string;
  /** How long what is on its way has waited; and by how many instructions its machine is behind. */
  lagMs: number;
  behindInstructions: number;
  /** The last checkpoint at which both machines were found alike. */
  checked: string | null;
}

export interface Summed {
  /** The number of the next entry of the log when the checkpoint was cut; and when the one before was, 0: there was none. */
  cut: number;
  before: number;
  /** Its name; null: it never became durable. */
  checkpoint: string | null;
  sums: StateSums;
}

export interface StandbyLinkOptions {
  vmId: string;
  epoch: number;
  /** Where the standby is. */
  to: NodeSession;
  note: OwnerNote;
  /** Whether outputs shall leave on its word; else it is for a takeover without reading alone. */
  isReliedOn: () => boolean;
  next: number;
  mark: bigint;
  send: (to: string, message: StandbyMessage) => void;
  log: (entry: EventEntry) => void;
  /** It has a fault, which costs its VM. */
  failed: (error: unknown) => void;
  /** It holds what leads to this position, and may be relied on. */
  onHeld: (position: number | undefined, places: InputPlaces) => void;
  /** Its condition is another. */
  onCondition: (condition: StandbyCondition | undefined) => void;
}

export class StandbyLink {
  readonly #options: StandbyLinkOptions;
  readonly #feed: Feed;
  readonly #timer: NodeJS.Timeout;
  #inSyncAt = -Infinity;
  #flushing = false;
  #told: StandbyCondition | undefined;
  #toldAt = -Infinity;
  #closed = false;

  constructor(options: StandbyLinkOptions) {
    this.#options = options;
    const { vmId, epoch, next, mark } = options;
    this.#feed = new Feed({ vmId, epoch, next, mark, nowMs: monotonicMs() });
    this.#timer = setInterval(
      owned(() => {
        this.#send(true);
        this.#look();
      }, options.failed),
      lookMs,
    );
    this.#send(true);
  }

  get to(): NodeSession {
    return this.#options.to;
  }

  get #condition(): StandbyCondition {
    return this.#feed.condition(monotonicMs());
  }

  /** Outputs may rest on it just now. */
  get isInSync(): boolean {
    return this.#options.note.restsOn(this.to) && this.#condition === 'in-sync';
  }

  get figures(): StandbyFigures {
    const feed = this.#feed;
    const condition = this.#condition;
    return {
      ...{ node: this.to.node, condition, reason: condition === 'preparing' ? feed.reason : '' },
      ...{ lagMs: feed.lagMs(monotonicMs()), behindInstructions: feed.behind, checked: feed.checked },
    };
  }

  sealed(number: number, entry: LogEntry): void {
    this.#feed.sealed(number, entry);
    this.#flush();
  }

  needs(need: { position: number; mark: bigint; places: InputPlaces }): void {
    this.#feed.needs(need, monotonicMs());
    this.#flush();
  }

  safe(next: number): void {
    this.#feed.safe(next);
  }

  passed(position: number): void {
    this.#feed.passed(position);
  }

  leftBefore(count: bigint): void {
    this.#feed.leftBefore(count);
  }

  /** What changed between two of the owner's checkpoints, of which the later has that name, or never became durable. */
  summed({ cut, before, checkpoint, sums }: Summed): void {
    // What is not sent makes a gap, which the standby sees.
    const pages = Object.entries(sums.pages).map(([space, each]) => ({
      ...{ space, indexes: packNumbers(each.indexes), sums: packNumbers(each.sums) },
    }));
    if (pages.reduce((sum, { indexes }) => sum + 2 * indexes.length, 0) > maxSumBytes) return;
    const { vmId, epoch } = this.#options;
    this.#say({
      ...{ type: 'standby-sums', vmId, epoch, cut, before, checkpoint, rest: sums.rest, pages },
    });
  }

  heard(from: string, ack: StandbyAck): void {
    const { to, epoch, note, onHeld } = this.#options;
    if (this.#closed || from !== to.node || ack.epoch !== epoch) return;
    const { position, places }: Reached = this.#feed.heard(ack, monotonicMs());
    if (position === undefined ? note.restsOn(to) : note.holds(to, position)) onHeld(position, places);
    // No more than what is missing: each message is acknowledged, and an answer to that again would never end.
    if (ack.missing) this.#send(false);
    this.#look();
  }

  /** What comes at the same moment goes together. */
  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    const flush = (): void => {
      this.#flushing = false;
      this.#send(false);
    };
    queueMicrotask(owned(flush, this.#options.failed));
  }

  #send(always: boolean): void {
    if (this.#closed) return;
    for (const message of this.#feed.messages(always)) this.#say(message);
  }

  #say(message: StandbyMessage): void {
    this.#options.send(this.to.node, message);
  }

  #look(): void {
    if (this.#closed) return;
    const condition = this.#condition;
    const now = monotonicMs();
    if (condition === 'in-sync') this.#inSyncAt = now;
    const { note, isReliedOn } = this.#options;
    note.want(isReliedOn() && now - this.#inSyncAt < toldAfterMs ? this.to : undefined);
    if (condition === this.#told || (this.#told !== undefined && now - this.#toldAt < toldAfterMs)) return;
    this.#tell(condition, now);
  }

  #tell(condition: StandbyCondition, now: number): void {
    const { vmId, to, log, onCondition } = this.#options;
    this.#told = condition;
    this.#toldAt = now;
    onCondition(condition);
    const reasons = {
      preparing: `on ${to.node}: ${this.#feed.reason}`,
      'in-sync': `on ${to.node}: it holds all that comes in`,
      lagging: `on ${to.node}: it is behind; outputs wait for the store instead`,
    };
    const event = { preparing: 'standby-prepares', 'in-sync': 'standby-in-sync', lagging: 'standby-lags' };
    log({ event: event[condition], vm: vmId, reason: reasons[condition] });
  }

  /** It is told nothing more, and no output leaves on its word. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#options.onCondition(undefined);
  }
}
