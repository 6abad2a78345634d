/** `revenant node`: this process becomes a node of a cluster. */
import { nodeOptions, runNode } from '@revenant/cluster';
import { define } from '../command/command.ts';
import { flag, list, text, value } from '../command/options.ts';
import { oneOf, wholeNumber } from '../command/values.ts';
import { imageShelf } from '../images/shelf.ts';

export const command = define({
  words: [],
  about: `Joins the cluster that lives in the store (the first node founds it), runs VMs and takes part in election, heartbeats and
failover, until SIGTERM or Ctrl-C: then it leaves in order, and its VMs move to other nodes; a second Ctrl-C ends it at once.
Prints one line of JSON when it listens: {"node", "address", "pid"}; its log goes to stderr.

Ends with exit code 16 and one line when it can't be part of the cluster: the store belongs to a cluster with another token, or to another
cluster; or a node of its name is alive. A node of that name that died, or leaves, is no hindrance: it takes its place when that is sure.

REVENANT_KEY or REVENANT_KEY_FILE gives the key (32 bytes, as hexadecimal digits or base64) under which memory and disks of VMs are
stored: the same on every node. Then whoever can read the store learns nothing of them but sizes and times; kernels and initrds of
images are stored as they are.`,
  options: {
    store: text('URL', 'file:/srv/revenant, s3:… (docs: packages/storage); required'),
    name: text('NAME', 'its name in the cluster; one process a name; required'),
    'heartbeat-store': list(
      'URL',
      `a further place for heartbeats, up to three times, the same on every node: a host that
loses store and network together, but beats there, is not declared dead at once`,
    ),
    listen: value(
      'HOST:PORT',
      'where other nodes and clients reach it (default 127.0.0.1:0, any free port)',
      (address) => address,
      '127.0.0.1:0',
    ),
    'token-file': text(
      'FILE',
      `a secret of 16 characters or more, the same for all nodes; needed to listen beyond
loopback`,
    ),
    'people-file': text(
      'FILE',
      `further tokens, a line of NAME ROLE TOKEN for each person (# begins a remark); roles: view, operate,
admin; the same on every node, read again when it changes`,
    ),
    'tls-cert': text(
      'FILE',
      `certificate (PEM, with its chain) and key, for TLS on everything it listens to; its name
or address must be the one that others reach it by`,
    ),
    'tls-key': text('FILE', 'the private key of --tls-cert'),
    'tls-ca': text('FILE', "the authority's certificates, where it is an installation's own"),
    profile: value(
      'NAME',
      'how quickly failures are detected and taken over: default or fast',
      oneOf(['default', 'fast']),
      'default' as const,
    ),
    retention: text(
      'RULES',
      `which checkpoints of its VMs are kept, as revenant checkpoint gc takes them
(default "last 10, 1 per 1m for 1h, 1 per 1h for 1d")`,
    ),
    'memory-mib': value('N', 'what its VMs may take together', wholeNumber(1, 2 ** 24)),
    'log-level': value(
      'LEVEL',
      'debug, info, warn, error (default info)',
      oneOf(['debug', 'info', 'warn', 'error']),
      'info' as const,
    ),
    limit: list(
      'NAME=N',
      `bound of what callers may cost, as often as needed: connections, strangers, strangerMs, strangerBytes, links,
consoles, requests, uploads, bodyIdleMs, blobsMiB (docs/CLUSTER_PROTOCOL.md, "Bounds")`,
    ),
    drills: flag('allow the network to be cut by request, for drills'),
  },
  examples: [
    'node --store file:/srv/revenant --name a --listen 127.0.0.1:7001',
    'node --store file:/srv/revenant --name b --listen 0.0.0.0:7001 --token-file /etc/revenant.token',
    'node --store file:/srv/revenant --name b --listen 10.0.0.2:7001 --token-file t --tls-cert b.pem --tls-key b.key --tls-ca ca.pem',
  ],
  async run({ options }) {
    return runNode({ ...nodeOptions(options), images: imageShelf });
  },
});
