/** The takeovers of `bench -- commit`: a node is killed, and the time is taken from the order to fence it until the guest is heard again. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConsoleRelay } from '../../packages/cluster/src/client/console-relay.ts';
import { requestProof, sha256 } from '../../packages/cluster/src/mac.ts';
import { proofSubprotocol } from '../../packages/cluster/src/protocol/version.ts';
import type { TestCluster } from '../chaos/harness.ts';
import { vmId, type CommitGuest } from './commit-guest.ts';

const tick = 'while :; do echo tick; usleep 20000; done\n';

/** Hears a VM at one node, whether that has it or will: no client has to find out first where it is. */
class Listener {
  readonly #relay: ConsoleRelay;
  /** When the guest's bytes up to this number had come, since 1970. */
  readonly #heard: { upTo: number; atMs: number }[] = [];
  isAttached = false;

  constructor({ options: { folder } }: TestCluster, address: string) {
    const path = `/v1/vms/${vmId}/console`;
    const token = readFileSync(join(folder, 'token'), 'utf8');
    this.#relay = new ConsoleRelay({
      find: async () => {
        const answer = await fetch(`http://${address}/v1/challenge`);
        const { challenge } = (await answer.json()) as { challenge: string };
        const proof = requestProof(token, challenge, {
          method: 'GET',
          path,
          bodyHash: sha256(new Uint8Array(0)),
        });
        return {
          url: `ws://${address}${path}`,
          proof: `${proofSubprotocol}${challenge}.${proof}`,
          headers: {},
        };
      },
      heard: ({ at, bytes }) => this.#heard.push({ upTo: at + bytes.length, atMs: Date.now() }),
      attached: () => {
        this.isAttached = true;
      },
      heardOfInput: () => undefined,
    });
  }

  get upTo(): number {
    return Math.max(0, ...this.#heard.map(({ upTo }) => upTo));
  }

  /** When the first byte came that has this number or a higher one. */
  firstFrom(number: number): number | undefined {
    return this.#heard.find(({ upTo }) => upTo > number)?.atMs;
  }

  close(): void {
    this.#relay.close();
  }
}

/** @returns milliseconds from the order that another node takes the VM over, before its epoch is raised, until its next byte was heard */
export async function takeOver(cluster: TestCluster, guest: CommitGuest): Promise<number> {
  const { client, nodes } = cluster;
  const { assignment } = await client.waitFor(vmId, ['running']);
  const holder = assignment!.node;
  const listeners = new Map([...nodes].map(([name, { address }]) => [name, new Listener(cluster, address)]));
  const before = listeners.get(holder)!;
  const [[, after]] = [...listeners].filter(([name]) => name !== holder) as [[string, Listener]];
  try {
    guest.type(tick);
    await guest.hears('tick\r\ntick');
    await cluster.until('two consoles', () => before.isAttached && after.isAttached);
    // At another place between two checkpoints each time.
    await sleep(2000 + Math.random() * 1000);
    const killedMs = Date.now();
    nodes.get(holder)!.kill();
    await nodes.get(holder)!.whenEnded;
    // What it had sent may still be on its way here.
    await sleep(100);
    await cluster.until('the guest to be heard again', () => after.firstFrom(before.upTo) !== undefined);
    const heardMs = after.firstFrom(before.upTo)!;
    const events = await client.events({ sinceMs: killedMs });
    const ordered = events.find(({ event, vm }) => event === 'vm-assigned' && vm === vmId);
    if (ordered === undefined) throw new Error('nobody was told to take it over');
    await cluster.startNode(holder);
    await cluster.untilAlive(nodes.size);
    await guest.interrupt();
    return heardMs - ordered.atMs;
  } finally {
    for (const listener of listeners.values()) listener.close();
  }
}
