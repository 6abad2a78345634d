/** The guests with a network card of a chaos run, each with its client outside. */
import type { ClusterEvent, OutputPolicy } from '@revenant/cluster';
import type { Image } from '../../packages/cli/src/images/image.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { AskingClient, type AskingOptions } from './asking-client.ts';
import { countingNetwork, makeCountingSpec } from './counting-guest.ts';
import type { TestCluster } from './harness.ts';
import { takenBackWithoutLeave } from './verdict.ts';

const pauseMs = 50;
/** Of each client, until it counts as answered. */
const wantedAnswers = 5;

export interface ServedOptions extends Pick<AskingOptions, 'random' | 'isWell'> {
  image: Image;
  count: number;
}

export class Served {
  readonly #cluster: TestCluster;
  readonly #options: ServedOptions;
  readonly #clients = new Map<string, { client: AskingClient; policy: OutputPolicy }>();

  constructor(cluster: TestCluster, options: ServedOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /** Creates the guests; the n-th by the policy that `policyOf` says. */
  async begin(policyOf: (n: number) => OutputPolicy): Promise<void> {
    const { client } = this.#cluster;
    const { image, count, random, isWell } = this.#options;
    const spec = { subnet: '10.64.0.0/16', outbound: false, guard: true, hostPorts: [] };
    await client.command({ type: 'network-create', network: countingNetwork, spec });
    for (let n = 1; n <= count; n++) {
      const policy = policyOf(n);
      const doors = await this.#doors();
      const ports = new Map(doors.map(({ node, port }) => [node, port]));
      const vm = await makeCountingSpec(client, image, { outputs: policy, ports });
      const id = `net${n}`;
      await client.command({ type: 'vm-create', vmId: id, spec: vm, start: true });
      const keeps = policy !== 'async';
      this.#clients.set(id, { policy, client: new AskingClient({ doors, random, isWell, keeps, pauseMs }) });
    }
  }

  /** Where each node publishes the port of one guest. */
  async #doors(): Promise<AskingOptions['doors']> {
    const { nodes } = this.#cluster.options;
    const ports = await freePorts(nodes.length);
    return nodes.map((node, n) => {
      const { listen = '127.0.0.1:0' } = this.#cluster.network.place(node);
      return { node, host: listen.slice(0, listen.lastIndexOf(':')), port: ports[n]! };
    });
  }

  startedAgain(vmId: string): void {
    this.#clients.get(vmId)?.client.excuse();
  }

  /** Says, from now on, whether each client was answered again. */
  whetherAllAnswer(): () => boolean {
    const before = new Map([...this.#clients].map(([id, { client }]) => [id, client.checker.answers]));
    return () =>
      [...this.#clients].every(
        ([id, { client }]) => client.checker.answers >= (before.get(id) ?? 0) + wantedAnswers,
      );
  }

  get answers(): number {
    return [...this.#clients.values()].reduce((sum, { client }) => sum + client.checker.answers, 0);
  }

  get broken(): number {
    return [...this.#clients.values()].reduce((sum, { client }) => sum + client.broken, 0);
  }

  get fault(): string | undefined {
    return this.#faults[0];
  }

  get #faults(): string[] {
    return [...this.#clients].flatMap(([id, { client, policy }]) => {
      const fault = client.checker.fault ?? client.fault;
      return fault === undefined ? [] : [`${id} (${policy}): ${fault}`];
    });
  }

  violations(events: readonly ClusterEvent[]): string[] {
    const keeping = [...this.#clients].filter(([, { policy }]) => policy !== 'async');
    const heard = keeping.map(([id, { client }]) => ({ id, takenBack: client.checker.takenBack }));
    return [...this.#faults, ...takenBackWithoutLeave(events, heard)];
  }

  async end(): Promise<void> {
    await Promise.all([...this.#clients.values()].map(({ client }) => client.close()));
  }
}
