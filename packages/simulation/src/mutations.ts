/**
 * Safety rules, each taken out of the real decision functions, or of what decides about outputs, in turn. The simulation must notice every one of them: else it
 * can't catch what it claims to check. `find` must occur exactly once in its file.
 */

export interface Mutation {
  name: string;
  /** What the cluster no longer does. */
  removes: string;
  file: string;
  find: string;
  replace: string;
  /** It shows in worlds that look at outputs. */
  ofOutputs?: true;
  /** It shows seldom: the first seed to try. */
  from?: number;
}

const decisions = 'packages/cluster/src/decisions/';
const outputs = 'packages/cluster/src/vm/';
const connections = 'packages/network/src/switch/connections.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'take-without-asking',
    removes: 'a VM is taken over only when its owner released it or is fenced',
    file: `${decisions}reconcile.ts`,
    find: 'if (ownerNode === undefined) return false;',
    replace:
      'if (ownerNode !== undefined || owner.epoch > 0) return true;\n  if (ownerNode === undefined) return false;',
  },
  {
    name: 'run-without-validation',
    removes: 'after the epoch was raised the list is read again before the guest runs',
    file: `${decisions}reconcile.ts`,
    find: 'const vm = vmOf(outcome.value, local.vmId);\n  if (vm === undefined || !isOurs(context, vm)) {',
    replace: 'const vm = vmOf(state.list, local.vmId);\n  if (vm === undefined || vm.assignment === null) {',
  },
  {
    name: 'fence-at-once',
    removes: 'a silent host is declared dead only after its heartbeat stood still for deadMs',
    file: `${decisions}membership.ts`,
    find: 'return still >= settings.deadMs',
    replace: 'return still >= settings.deadMs / 3',
  },
  {
    name: 'fence-by-network-alone',
    removes: 'a host whose datastore heartbeat goes on is partitioned, not dead',
    file: `${decisions}membership.ts`,
    find: "const same = outcome.value.incarnation === incarnation && outcome.value.counter === counter;\n  if (!same || outcome.value.state !== 'active' || fenceDue(context, peer) === undefined) return;",
    replace: 'if (reachable(context, peer)) return;',
  },
  {
    name: 'one-datastore-alone',
    removes: 'a host whose heartbeat goes on in another datastore is not dead, though it lost the store',
    file: `${decisions}membership.ts`,
    find: 'if (!heard && !beatsElsewhere(context, peer))',
    replace: 'if (!heard)',
  },
  {
    name: 'lease-from-the-answer',
    removes: 'a lease counts from the sending of its renewal, not from the answer',
    file: `${decisions}lease.ts`,
    find: 'const until = purpose.sentAt + settings.leaseMs;',
    replace: 'const until = now + settings.leaseMs;',
  },
  {
    name: 'endless-lease',
    removes: 'guests stop when the lease is not renewed',
    file: `${decisions}lease.ts`,
    find: 'const until = purpose.sentAt + settings.leaseMs;',
    replace: 'const until = purpose.sentAt + settings.leaseMs * 4;',
  },
  {
    name: 'stopped-unconfirmed',
    removes: 'a powered-off VM counts as stopped only when its owner gave it up or is fenced',
    file: `${decisions}election.ts`,
    find: "if (outcome.result === 'absent' || outcome.value.state !== 'owned') {",
    replace: "if (outcome.result !== 'absent' || state.master !== undefined) {",
  },
  {
    name: 'session-survives-its-fence',
    removes: 'guests of a fenced session are stopped for good',
    file: `${decisions}lease.ts`,
    find: "if (value.incarnation === state.incarnation && value.state === 'active') {\n    state.record = value;",
    replace:
      "if (value.incarnation === state.incarnation) {\n    state.record = { ...value, state: 'active' };",
  },
  {
    name: 'conflict-ignored',
    removes: 'a refused write of the list makes the master look who holds it',
    file: `${decisions}election.ts`,
    find: 'const ours = value.term === master.term && value.master?.node === state.id;',
    replace: 'const ours = true;',
  },
  {
    name: 'failures-forgotten',
    removes: 'a VM that breaks again and again, though not at once, is left alone in the end',
    file: `${decisions}failover.ts`,
    find: 'change(result, { ...vm, avoid: [] });',
    replace: 'change(result, { ...vm, tries: 0, avoid: [] });',
  },
  {
    name: 'ended-nodes-forgotten',
    removes: 'a VM that ends its nodes is left alone in the end, though none of them could report it',
    file: `${decisions}failover.ts`,
    find: 'const ended = [...(vm.ended ?? []), host.id];',
    replace: 'const ended = [host.id];',
  },
  {
    name: 'raise-unread',
    removes: 'a node raises no epoch of a VM whose state it has no key for',
    file: `${decisions}reconcile.ts`,
    find: 'if (reads === undefined || owner.form === undefined) return undefined;',
    replace: 'if (reads !== undefined || owner.form === undefined) return undefined;',
  },
  {
    name: 'one-clock-alone',
    removes: 'a node whose monotonic clock stood still does not believe its lease',
    file: 'packages/cluster/src/node/steady-clock.ts',
    find: 'if (most - passed > toleranceMs) this.#lostMs += most - passed;',
    replace: '',
  },
  {
    name: 'give-up-everything',
    removes: 'a node gives up only what it does not run',
    file: `${decisions}reconcile.ts`,
    find: 'if (context.state.local.has(vmId)) return;',
    replace: '',
  },
  {
    name: 'never-give-up',
    removes: 'a raise whose answer was lost is given up when somebody asks',
    file: `${decisions}reconcile.ts`,
    find: "context.out.push({ type: 'release', vmId, epoch });",
    replace: '',
  },
  {
    name: 'balanced-for-ever',
    removes: 'a move that evens out leaves its node fuller than the next one with the VM on it',
    file: `${decisions}balance.ts`,
    find: 'const gain = from - full.get(to.id)! - vm.spec.memoryMiB / to.capacity.memoryMiB;',
    replace: 'const gain = from - full.get(to.id)!;',
  },
  {
    name: 'balanced-at-any-time',
    removes: 'nothing is evened out while VMs start, stop or move',
    file: `${decisions}balance.ts`,
    find: "moving || status === 'starting' || status === 'stopping' ||",
    replace: '',
  },
  {
    name: 'gate-open',
    removes: 'an output waits until what leads to it is durable',
    ofOutputs: true,
    file: `${outputs}output-gate.ts`,
    find: "if (this.#policy !== 'async' && position > this.#durable) break;",
    replace: '',
  },
  {
    name: 'gap-taken',
    removes: 'a standby takes an entry of the log only behind all before it',
    ofOutputs: true,
    file: `${outputs}standby/copy.ts`,
    find: 'if (feed.first + i === this.#next) fresh',
    replace: 'if (feed.first + i >= this.#next) fresh',
  },
  {
    name: 'acknowledged-early',
    removes: 'an output leaves on the word of a standby once that holds all that leads to it',
    ofOutputs: true,
    file: `${outputs}standby/feed.ts`,
    find: 'if (need.next > next || need.mark > BigInt(mark)) break;',
    replace: '',
  },
  {
    name: 'note-not-kept',
    removes:
      'a note of whom outputs rest on is changed only when the store, or the next one, has what left on its word',
    ofOutputs: true,
    file: `${outputs}standby/reliance.ts`,
    find: 'const isSafe = this.#stored >= this.#left || this.#held >= this.#left;',
    replace: 'const isSafe = true;',
  },
  {
    name: 'rests-unnoted',
    removes: 'outputs leave on the word of a standby only once the owner record names it',
    ofOutputs: true,
    file: `${outputs}standby/reliance.ts`,
    find: 'return !this.#isWriting && this.#isOf(this.#noted, session) && this.#isOf(this.#wanted, session);',
    replace: 'return this.#isOf(this.#wanted, session);',
  },
  {
    name: 'note-taken-back',
    removes: 'whoever takes a VM over leaves the note of the owner before until its own state is durable',
    ofOutputs: true,
    file: `${outputs}standby/reliance.ts`,
    find: 'this.#left = options.left;',
    replace: 'this.#left = -1;',
  },
  {
    name: 'handed-over-nothing',
    removes: 'what only a standby had comes into the log of its epoch',
    ofOutputs: true,
    file: `${outputs}standby/lead.ts`,
    find: 'return { logTo: end.to, nextInput: end.nextInput, seed, gap: false };',
    replace: 'return { logTo: copy.mark, nextInput: BigInt(copy.next), seed: [], gap: false };',
  },
  {
    name: 'lost-in-silence',
    ofOutputs: true,
    removes: 'when owner and standby are both gone, it is told what that may cost',
    file: `${decisions}reconcile.ts`,
    find: 'local.standbyLost = `its standby',
    replace: 'void `its standby',
  },
  {
    name: 'standby-passed-by',
    ofOutputs: true,
    removes: 'nobody takes a VM over whose outputs rest on a standby that stands',
    file: `${decisions}standbys.ts`,
    find: 'if (keeper === undefined) return true;',
    replace: 'if (keeper === undefined || owner.epoch > 0) return true;',
  },
  {
    name: 'foreign-life',
    from: 1760,
    removes: 'what a standby holds of a life that others went on with is not gone on with',
    ofOutputs: true,
    file: `${outputs}standby/lead.ts`,
    find: 'return before === followed || noted === followed;',
    replace: 'return true;',
  },
  {
    name: 'promise-forgotten',
    from: 2680,
    removes: 'a standby that was made anew and holds less than was relied on says so',
    ofOutputs: true,
    file: `${outputs}standby/lead.ts`,
    find: 'return copy.next < promised.next || copy.mark < promised.mark;',
    replace: 'return false;',
  },
  {
    name: 'frames-pass-the-gate',
    removes: 'a frame waits as any other output until what leads to it is durable',
    ofOutputs: true,
    file: `${outputs}output-gate.ts`,
    find: "if (this.#policy !== 'async' && position > this.#durable) break;",
    replace:
      "if (this.#policy !== 'async' && position > this.#durable && entry.output.kind !== 'frame') break;",
  },
  {
    name: 'ahead-and-open',
    removes: 'a connection whose peer has heard what a resumed guest never said is ended',
    ofOutputs: true,
    file: connections,
    find: 'if (guest.address !== address || guest.progressAt <= resumedAt) continue;',
    replace: 'if (guest.address !== address || guest.progressAt <= Infinity) continue;',
  },
  {
    name: 'all-ended',
    removes: 'a connection that lost nothing by a takeover goes on',
    ofOutputs: true,
    file: connections,
    find: 'if (guest.address !== address || guest.progressAt <= resumedAt) continue;',
    replace: 'if (guest.address !== address) continue;',
  },
  {
    name: 'progress-of-the-first',
    removes: 'whatever a guest sends on a connection takes it further',
    ofOutputs: true,
    file: connections,
    find: 'if (moves || acknowledgment !== side.acknowledgment) side.progressAt = sentAt;',
    replace: 'if (known === undefined) side.progressAt = sentAt;',
  },
];
