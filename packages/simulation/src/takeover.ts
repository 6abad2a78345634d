/**
 * How a simulated node goes on with a VM under an epoch that it raised: from the standby that it has, from the store, or from power-on; as
 * cluster/src/vm/vm-host.ts does, with its real judgements (standby/lead.ts).
 */
import type { ProtectedVm } from '@revenant/cluster';
import type { StandbyNote } from '../../cluster/src/protocol/records.ts';
import type { Handed } from '../../cluster/src/vm/standby/handed.ts';
import { holdsLess, isOfLife, seedOf } from '../../cluster/src/vm/standby/lead.ts';
import type { Checkpoint, SimNode } from './node.ts';
import { Life } from './life.ts';
import { entriesOf, nextOf, type Found } from './input-log.ts';
import type { Held } from './standby.ts';

/** What an epoch of ours was raised with. */
export interface Owned {
  from: Checkpoint | null;
  log: Found;
  /** The last epoch before it that may have run the VM. */
  before: number | undefined;
  noted: StandbyNote | undefined;
  /** See `notedFor`, of the session that raised it. */
  notedHere: number | undefined;
  standbyLost: boolean;
}

export interface Begun {
  life: Life;
  resumed: 'boot' | 'exact' | 'earlier';
  /** Of `earlier`: outputs rested on a session that is over, or this one holds less than it said; else something is wrong. */
  why: 'lost' | 'less' | 'wrong';
  handed: Handed | undefined;
}

export function begin(node: SimNode, vm: ProtectedVm, owned: Owned, held: Held | undefined): Begun {
  const { from, log } = owned;
  const kept = from === null ? undefined : node.world.keptOf(vm.id, from);
  if (from === null || kept === undefined || from.boot < vm.boot)
    return { life: Life.begun(vm.boot), resumed: 'boot', why: 'wrong', handed: undefined };
  const { last } = log;
  const end =
    last === undefined
      ? { to: BigInt(from.steps), nextInput: BigInt(kept.life.nextInput) }
      : { to: last.to, nextInput: nextOf(last) };
  const isOurs = held !== undefined && isOfLife(held.epoch, { before: owned.before, noted: owned.notedHere });
  if (isOurs) {
    const missing = copyMissing(held, owned, end);
    const seed = seedOf(held.copy, end);
    if (seed !== undefined) {
      const isWrong = !held.isFed && (!kept.exact || log.refused);
      const isLess = owned.standbyLost || holdsLess(held, owned.notedHere);
      const resumed = isLess || isWrong ? 'earlier' : 'exact';
      const why = isWrong ? 'wrong' : owned.standbyLost ? 'lost' : 'less';
      if (seed.seed.length > 0) node.world.checker.leads++;
      if (held.life !== undefined) {
        held.said.push(...held.life.replay(missing, held.copy.mark));
        return { life: held.life, resumed, why, handed: { ...seed, again: held.said } };
      }
      const life = kept.life.copy();
      life.replay([...entriesOf(last, BigInt(from.steps), life.nextInput), ...seed.seed], held.copy.mark);
      return {
        life,
        resumed: kept.exact ? resumed : 'earlier',
        why: kept.exact ? why : 'wrong',
        handed: { ...seed, again: [] },
      };
    }
  }
  // The record says that somebody here has the rest, and nobody does.
  const isLost = owned.standbyLost || (owned.notedHere !== undefined && !isOurs);
  const life = kept.life.copy();
  if (last !== undefined) life.replay(entriesOf(last, BigInt(from.steps), life.nextInput), last.to);
  const isWhole = kept.exact && !log.refused;
  const why = !isWhole ? 'wrong' : owned.standbyLost ? 'lost' : 'less';
  return { life, resumed: isLost || !isWhole ? 'earlier' : 'exact', why, handed: undefined };
}

/** What only the store has. */
function copyMissing(
  { copy }: Held,
  { from, log }: Owned,
  end: { to: bigint; nextInput: bigint },
): ReturnType<typeof entriesOf> {
  if (log.last === undefined || (Number(end.nextInput) <= copy.next && end.to <= copy.mark)) return [];
  return copy.read(entriesOf(log.last, BigInt(from?.steps ?? 0), copy.next), log.last.to);
}
