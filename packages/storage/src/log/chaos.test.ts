/**
 * Owners that take a VM over from one another and log its input, on a store that fails in every way; fenced ones go on for a while;
 * checkpoints and collections in between. Over many seeds: REVENANT_SEEDS sets how many, REVENANT_SEED runs one alone. Checked:
 * - what was ever reported as durable is in every history since, in its place: a takeover replays it, or has a checkpoint behind it;
 * - what one takeover replayed, the next one replays as well: nothing vanishes, nothing changes, nothing comes in between;
 * - a fenced owner is never told that something of it became durable which is not in the history.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeHost } from '../../test-support/fake-host.ts';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { Guest } from '../../test-support/guest.ts';
import { input } from '../../test-support/log-suite.ts';
import { roughWeather } from '../../test-support/rough-weather.ts';
import { collectGarbage } from '../checkpoint/collect.ts';
import { loadChain } from '../checkpoint/chain.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { CheckpointWriter } from '../checkpoint/writer.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { raiseEpoch, type Ownership } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { LogReader } from './reader.ts';
import { LogWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });

class Run {
  readonly host: FakeHost;
  readonly store = new MemoryStore();
  readonly faulty: FaultyStore;
  /** The history as the last takeover knows it: input by number. */
  readonly history = new Map<bigint, string>();
  /** What was reported as durable. */
  readonly durable = new Map<bigint, string>();
  checkpoints = 0;
  collected = 0;
  readonly zombies: LogWriter[] = [];

  constructor(seed: number) {
    this.host = new FakeHost(seed);
    const plan = roughWeather(this.host, 0.08, new Set());
    this.faulty = new FaultyStore(this.store, plan, { host: this.host, random: this.host.uniform });
  }

  async insist<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const transient =
          isStoreError(error) ||
          isStorageError(error, 'CHECKPOINT_DAMAGED') ||
          isStorageError(error, 'LOG_DAMAGED');
        if (!transient || attempt > 200) throw error;
        await this.host.sleep(50);
      }
    }
  }

  async replay(ownership: Ownership, from: bigint): Promise<void> {
    const reader = await this.insist(() => LogReader.open(this.faulty, 'vm', { after: from }));
    const last = ownership.log?.last;
    if (reader === undefined || last === undefined) return;
    await this.insist(async () => {
      for await (const { input: number, payload } of reader.entries()) {
        const known = this.history.get(number);
        const text = Buffer.from(payload).toString();
        assert.ok(
          known === undefined || known === text,
          `input ${String(number)} was ${String(known)}, and is ${text}`,
        );
        this.history.set(number, text);
      }
    });
  }

  /** One owner: takes over, replays, logs, now and then writes a checkpoint, and is left alive. */
  async own(name: string): Promise<void> {
    const ownership = await this.insist(() =>
      raiseEpoch(this.faulty, 'vm', { owner: name, host: this.host, replayLog: true }),
    );
    const { resumeFrom, log } = ownership;
    const chain =
      resumeFrom === null ? [] : await this.insist(() => loadChain(this.faulty, 'vm', resumeFrom, undefined));
    const from = chain.at(-1)?.head.instructions ?? 0n;
    assert.equal(log?.refused, undefined);
    await this.replay(ownership, from);
    const at = log?.last?.to ?? from;
    const next = log?.last?.nextInput ?? this.logged(from);
    for (const [number, text] of this.durable)
      assert.ok(
        number < next && this.history.get(number) === text,
        `input ${String(number)} was durable, and is lost`,
      );
    // What counted for nobody is forgotten: another may have its number now.
    for (const number of this.history.keys()) if (number >= next) this.history.delete(number);
    await this.live(name, ownership, { at, next });
  }

  /** Where the inputs up to a checkpoint end: checkpoints are cut at the count of their last input. */
  logged(count: bigint): bigint {
    return this.#numbers.get(count) ?? 1n;
  }
  readonly #numbers = new Map<bigint, bigint>();

  async live(name: string, ownership: Ownership, { at, next }: { at: bigint; next: bigint }): Promise<void> {
    const texts = new Map<bigint, string>();
    const log = new LogWriter(this.faulty, ownership, {
      host: this.host,
      from: at,
      nextInput: next,
      previous: ownership.log?.last,
      maxWaitingBytes: 2000,
      onDurable: ({ input: number }) => {
        for (const [each, text] of texts) {
          if (each > number) continue;
          texts.delete(each);
          this.durable.set(each, text);
          this.history.set(each, text);
        }
      },
    });
    let count = at;
    const inputs = Math.floor(this.host.uniform() * 30);
    for (let i = 0; i < inputs; i++) {
      count += BigInt(Math.floor(this.host.uniform() * 100));
      const [number, text] = [log.nextInput, `${name}.${String(i)}`];
      if (log.append({ count, payload: input(text) }) === 'taken') texts.set(number, text);
      else await log.flush();
      if (this.host.uniform() < 0.3) log.mark((count += 5n));
      if (this.host.uniform() < 0.4) await this.host.sleep(Math.floor(this.host.uniform() * 30));
    }
    if (this.host.uniform() < 0.5) await log.flush();
    if (this.host.uniform() < 0.3 && log.status.error === undefined) {
      await log.flush();
      await this.checkpoint(ownership, log);
    }
    this.zombies.push(log);
  }

  async checkpoint(ownership: Ownership, log: LogWriter): Promise<void> {
    const { count, input: number } = log.status.durable;
    const guest = new Guest({ seed: 1, ramPages: 4, diskPages: 0 });
    guest.instructions = count;
    this.#numbers.set(count, number + 1n);
    try {
      const writer = await CheckpointWriter.open(this.faulty, ownership, {
        pool,
        host: this.host,
        giveUpAfterMs: 300,
      });
      await writer.write(guest.snapshot({ full: true }));
      this.checkpoints++;
      const policy = { keepLast: 1, rules: [], logMs: 0 };
      const report = await collectGarbage(this.faulty, 'vm', { host: this.host, policy });
      this.collected += report.removedSegments;
    } catch (error) {
      if (!isStoreError(error) && !isStorageError(error)) throw error;
    }
  }
}

const seeds = Number(process.env['REVENANT_SEEDS'] ?? 60);
const only = process.env['REVENANT_SEED'];

describe('the log on a failing store', () => {
  test(`over ${only === undefined ? String(seeds) : '1'} seeds`, async () => {
    const totals = { durable: 0, checkpoints: 0, collected: 0, fenced: 0 };
    for (const seed of only === undefined ? Array.from({ length: seeds }, (_, i) => i + 1) : [Number(only)]) {
      const run = new Run(seed);
      try {
        for (let owner = 0; owner < 8; owner++) {
          await run.own(String.fromCharCode(97 + owner));
          // Those before do not know yet.
          for (const zombie of run.zombies.slice(0, -1)) {
            zombie.append({ count: zombie.status.durable.count + 10_000n, payload: input('zombie') });
            await run.host.sleep(5);
          }
        }
        for (const log of run.zombies) await log.flush();
        run.faulty.plan = () => undefined;
        await run.faulty.settle();
        await run.own('last');
      } catch (cause) {
        throw new Error(`seed ${String(seed)}: ${String(cause)}`, { cause });
      }
      totals.durable += run.durable.size;
      totals.checkpoints += run.checkpoints;
      totals.collected += run.collected;
      totals.fenced += run.zombies.filter(({ status }) => status.error?.code === 'FENCED').length;
    }
    if (only === undefined)
      for (const [what, count] of Object.entries(totals))
        assert.ok(count > seeds / 4, `${what}: ${String(count)}`);
  });
});
