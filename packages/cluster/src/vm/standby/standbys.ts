/** All VMs that one node follows, by what the protected list says of it. */
import type { ProtectedVm } from '../../decisions/records.ts';
import type { LogEntry } from '../../decisions/types.ts';
import type { StandbyFeed, StandbyMessage, StandbySums } from '../../protocol/standby.ts';
import { StandbyVm, type Promised, type Standby, type StandbyVmOptions } from './standby-vm.ts';
import { owned } from '../../owned.ts';

/** For so long a standby stays that is not wanted any more: its owner may not know yet, and let outputs out on its word. */
const leavingMs = 10_000;

/** VMs of which is known what was promised: more than any node follows. */
const maxPromised = 4096;

interface Followed {
  standby: StandbyVm;
  leaving: NodeJS.Timeout | undefined;
}

export class Standbys {
  readonly #vms = new Map<string, Followed>();
  /** By VM: what its owner was told by whichever machine followed it here. That stays true of the session, or is broken, when the machine ends. */
  readonly #promised = new Map<string, Promised>();
  /** Machines that were found to differ from those that they follow. */
  diverged = 0;

  /** A VM is to be followed; again, when what it is made from has changed. */
  follow(options: StandbyVmOptions): void {
    const { vm } = options;
    const followed = this.#vms.get(vm.id);
    if (followed !== undefined && isSame(followed.standby.vm, vm)) {
      clearTimeout(followed.leaving);
      followed.leaving = undefined;
      return;
    }
    this.#end(vm.id);
    const log = (entry: LogEntry): void => {
      if (entry.event === 'standby-diverged') this.diverged++;
      options.log(entry);
    };
    const send = (to: string, message: StandbyMessage): void => {
      this.#note(message, vm.boot);
      options.send(to, message);
    };
    this.#vms.set(vm.id, { standby: new StandbyVm({ ...options, log, send }), leaving: undefined });
  }

  #note(message: StandbyMessage, boot: number): void {
    if (message.type !== 'standby-ack' || message.state !== 'following') return;
    const { vmId, epoch, next } = message;
    const mark = BigInt(message.mark);
    const before = this.#promised.get(vmId);
    const isLess =
      before?.boot === boot && before.epoch === epoch && before.next >= next && before.mark >= mark;
    if (!isLess) this.#promised.set(vmId, { boot, epoch, next, mark });
    for (const name of this.#promised.keys()) {
      if (this.#promised.size <= maxPromised) return;
      if (!this.#vms.has(name)) this.#promised.delete(name);
    }
  }

  leave(vmId: string): void {
    const followed = this.#vms.get(vmId);
    if (followed === undefined) return;
    followed.leaving ??= setTimeout(
      owned(
        () => this.#vms.get(vmId) === followed && this.#end(vmId),
        () => this.#vms.delete(vmId),
      ),
      leavingMs,
    );
  }

  heard(from: string, message: StandbyFeed | StandbySums): void {
    this.#vms.get(message.vmId)?.standby.heard(from, message);
  }

  /** For who takes the VM over: its machine, if it follows. It is followed no more. */
  async take(vm: ProtectedVm): Promise<Standby | undefined> {
    const followed = this.#vms.get(vm.id);
    if (followed === undefined) return undefined;
    clearTimeout(followed.leaving);
    this.#vms.delete(vm.id);
    const promised = this.#promised.get(vm.id);
    if (isSame(followed.standby.vm, vm)) {
      const standby = await followed.standby.take();
      // A machine that was switched on anew counts from 0.
      return standby && { ...standby, promised: promised?.boot === vm.boot ? promised : undefined };
    }
    await followed.standby.close();
    return undefined;
  }

  /** Whether what it has need not be read from the store. */
  follows(vmId: string): boolean {
    return this.#vms.get(vmId)?.standby.isFollowing === true;
  }

  get followed(): number {
    return this.#vms.size;
  }

  get names(): string[] {
    return [...this.#vms.keys()];
  }

  #end(vmId: string): void {
    const followed = this.#vms.get(vmId);
    if (followed === undefined) return;
    clearTimeout(followed.leaving);
    this.#vms.delete(vmId);
    void followed.standby.close();
  }

  async close(): Promise<void> {
    const all = [...this.#vms.values()];
    this.#vms.clear();
    for (const { leaving } of all) clearTimeout(leaving);
    await Promise.all(all.map(({ standby }) => standby.close()));
  }
}

/** What a machine is made from; by which policy its outputs leave, for one, is no part of that. */
function isSame(a: ProtectedVm, b: ProtectedVm): boolean {
  const of = ({ boot, nic, spec: { runtime, description } }: ProtectedVm): string =>
    JSON.stringify([boot, nic, runtime, description]);
  return of(a) === of(b);
}
