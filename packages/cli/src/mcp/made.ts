/**
 * VMs that an MCP server made, and what it may make: so many at once, with so much memory together. What is asked for at the same time is
 * counted one after the other.
 */
import type { ClusterClient } from '@revenant/cluster/client';
import { CliError, ExitCode } from '../errors.ts';

export interface MadeLimits {
  maxVms: number;
  memoryMiB: number;
}

export class Made {
  readonly #limits: MadeLimits;
  readonly #client: ClusterClient;
  /** What each was given, in MiB. */
  readonly #vms = new Map<string, number>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: ClusterClient, limits: MadeLimits) {
    this.#client = client;
    this.#limits = limits;
  }

  /** Makes VMs by `make`, if there is room for them. Throws CliError otherwise. */
  async make<T>(names: readonly string[], memoryMiB: number, make: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      await this.#forgetDeleted();
      this.#requireRoom(names.length, memoryMiB);
      // Counted before they are made: should that fail halfway, those that are there count.
      for (const name of names) this.#vms.set(name, memoryMiB);
      return make();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #forgetDeleted(): Promise<void> {
    const there = new Set<string>();
    for (const { id, desired } of (await this.#client.status()).vms) if (desired !== 'deleted') there.add(id);
    for (const name of this.#vms.keys()) if (!there.has(name)) this.#vms.delete(name);
  }

  #requireRoom(count: number, memoryMiB: number): void {
    const { maxVms, memoryMiB: most } = this.#limits;
    const used = [...this.#vms.values()].reduce((sum, each) => sum + each, 0);
    const refuse = (why: string): never => {
      throw new CliError(ExitCode.refused, why, 'delete VMs that are not needed any more');
    };
    if (this.#vms.size + count > maxVms)
      refuse(`this server made ${String(this.#vms.size)} VMs, and may have ${String(maxVms)} at once`);
    if (used + count * memoryMiB > most)
      refuse(`VMs of this server have ${String(used)} MiB together, and may have ${String(most)} MiB`);
  }
}
