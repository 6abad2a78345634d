/** `revenant cluster`: the nodes together. */
import { parseArgs } from 'node:util';
import type { ClusterClient, ClusterStatus, Command as ClusterCommand } from '@revenant/cluster';
import type { Command } from '../command.ts';
import {
  connectHelp,
  connectOptions,
  orStored,
  storedNote,
  withCluster,
  type ConnectValues,
} from '../cluster/connect.ts';
import { eventHelp, eventOptions, showEvents } from '../cluster/events.ts';
import { nodeTable, print, printJson, vmTable } from '../cluster/output.ts';
import { CliError, ExitCode } from '../errors.ts';

const verbs = ['status', 'nodes', 'events', 'drain', 'undrain', 'rebalance'] as const;
type Verb = (typeof verbs)[number];

function asCommand(verb: 'drain' | 'undrain' | 'rebalance', node: string | undefined): ClusterCommand {
  if (verb === 'rebalance') return { type: 'rebalance' };
  if (node === undefined)
    throw new CliError(ExitCode.usage, 'a node is missing', `revenant cluster ${verb} NODE`);
  return { type: verb, node };
}

function showStatus(status: ClusterStatus, json: boolean): void {
  if (json) return printJson(status);
  const alive = status.nodes.filter(({ state }) => state === 'alive').length;
  print(
    `${alive} of ${status.nodes.length} nodes alive, master ${status.master ?? 'none'} (term ${status.term}), ${status.vms.length} VMs`,
  );
  print('');
  print(nodeTable(status));
  for (const { url, reached, reason } of status.heartbeatStores)
    print(`heartbeats of ${status.node} in ${url}: ${reached ? 'taken' : reason || 'not taken yet'}`);
  if (status.vms.length === 0) return;
  print('');
  print(vmTable(status.vms));
}

export const command: Command = {
  summary: 'look at the cluster: status, nodes, events; drain a node, rebalance',
  help: `Usage: revenant cluster status|nodes [OPTIONS]
       revenant cluster events [--since TIME] [--limit N] [--follow] [OPTIONS]
       revenant cluster drain|undrain NODE [OPTIONS]
       revenant cluster rebalance [OPTIONS]

status     nodes and VMs
nodes      nodes: state with its reason, address, memory, datastores reached, VMs
events     what was seen and decided, by whom and why: "what happened at 12:03"
drain      puts a node in maintenance: its VMs move away, live; nothing new is placed there
undrain    takes it back
rebalance  moves VMs, live, from full nodes to empty ones

${eventHelp}
${connectHelp}

Examples:
  revenant cluster status --store file:/srv/revenant
  revenant cluster events --since 10m --node 127.0.0.1:7001
  revenant cluster drain a --node 127.0.0.1:7001`,
  async run(words) {
    const { values, positionals } = parseArgs({
      args: words,
      allowPositionals: true,
      options: { ...connectOptions, ...eventOptions },
    });
    const [name = 'status', node] = positionals;
    const verb = verbs.find((each) => each === name);
    if (verb === undefined)
      throw new CliError(ExitCode.usage, `cluster can't '${name}'`, `choose from ${verbs.join(', ')}`);
    await withCluster(values, (client) => carryOut(client, verb, node, values));
    return ExitCode.ok;
  },
};

async function carryOut(
  client: ClusterClient,
  verb: Verb,
  node: string | undefined,
  values: Parameters<typeof showEvents>[1] & ConnectValues,
): Promise<void> {
  const ask = (): Promise<ClusterStatus> =>
    orStored(
      values,
      () => client.status(),
      () => client.storedStatus(),
    );
  switch (verb) {
    case 'status':
      return showStatus(await ask(), values.json);
    case 'nodes': {
      const status = await ask();
      return values.json ? printJson(status.nodes) : print(nodeTable(status));
    }
    case 'events':
      return showEvents(client, values);
    default: {
      const by = await client.command(asCommand(verb, node));
      const subject = [verb, node].filter((part) => part !== undefined).join(' ');
      if (values.json) printJson({ done: verb, ...(node === undefined ? {} : { node }), by });
      else print(`${subject}: ${by === 'node' ? 'done' : storedNote}`);
    }
  }
}
