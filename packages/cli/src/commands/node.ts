/** `revenant node`: this process becomes a node of a cluster. */
import { nodeOptions, runNode } from '@revenant/cluster';
import type { Command } from '../command.ts';
import { clusterFailure } from '../cluster/connect.ts';
import { ExitCode } from '../errors.ts';

export const command: Command = {
  summary: 'be a node of a cluster: run VMs, watch the other nodes',
  help: `Usage: revenant node --store URL --name NAME [OPTIONS]

Joins the cluster that lives in the store (the first node founds it), runs VMs and takes part in election, heartbeats and
failover, until SIGTERM or Ctrl-C: then it leaves in order, and its VMs move to other nodes; a second Ctrl-C ends it at once.
Prints one line of JSON when it listens: {"node", "address", "pid"}; its log goes to stderr.

  --store URL              file:/srv/revenant, s3:… (docs: packages/storage)
  --heartbeat-store URL    a further place for heartbeats, up to three times, the same on every node: a host that loses store
                           and network together, but beats there, is not declared dead at once
  --name NAME              its name in the cluster; one process a name
  --listen HOST:PORT       where other nodes and clients reach it (default 127.0.0.1:0, any free port)
  --token-file FILE        a secret of 16 characters or more, the same for all nodes; needed to listen beyond loopback
  --profile default|fast   how quickly failures are detected and taken over
  --retention RULES        which checkpoints of its VMs are kept, as revenant checkpoint gc takes them
                           (default "last 10, 1 per 1m for 1h, 1 per 1h for 1d")
  --memory-mib N           what its VMs may take together
  --log-level LEVEL        debug, info, warn, error (default info)
  --drills                 allow the network to be cut by request, for drills

REVENANT_KEY or REVENANT_KEY_FILE gives the key (32 bytes, as hexadecimal digits or base64) under which memory and disks of VMs are
stored: the same on every node. Then whoever can read the store learns nothing of them but sizes and times; kernels and initrds of
images are stored as they are.

Examples:
  revenant node --store file:/srv/revenant --name a --listen 127.0.0.1:7001
  revenant node --store file:/srv/revenant --name b --listen 0.0.0.0:7001 --token-file /etc/revenant.token`,
  async run(words) {
    try {
      await runNode(nodeOptions(words));
    } catch (error) {
      throw clusterFailure(error);
    }
    await new Promise<never>(() => undefined);
    return ExitCode.ok;
  },
};
