/** `revenant network create`. */
import { freeSubnet, type NetworkSpec } from '@revenant/cluster/protocol';
import { askStatus, connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { flag, list, text } from '../../command/options.ts';
import { parseHostPort } from '../../run/network-options.ts';

export const command = define({
  words: ['NAME'],
  options: {
    subnet: text(
      'SUBNET',
      'its addresses, from /8 to /24 (default: the first of 10.64.0.0/16, 10.65.0.0/16, … that is free)',
    ),
    guard: flag("drops a guest's frames that bear another's MAC or address"),
    inside: flag('its guests reach each other only, not the world beyond'),
    'host-port': list(
      'PORT',
      "this port of a node's own loopback is open to its guests, at the gateway's address",
      parseHostPort,
    ),
    ...connectOptions,
  },
  examples: [
    'network create web --guard --store file:/srv/revenant',
    'network create lab --subnet 192.168.7.0/24 --inside --node 127.0.0.1:7001',
  ],
  async run(input) {
    const network = input.word(0);
    const { options } = input;
    const { by, spec } = await withCluster(options, async (client) => {
      const subnet = options.subnet ?? freeSubnet((await askStatus(client, options)).networks);
      const wanted: NetworkSpec = {
        subnet,
        guard: options.guard,
        outbound: !options.inside,
        hostPorts: options['host-port'],
      };
      return { spec: wanted, by: await client.command({ type: 'network-create', network, spec: wanted }) };
    });
    const what = `${network}: ${spec.subnet}${by === 'node' ? '' : `; ${storedNote}`}`;
    input.show({ done: 'network-create', network, spec, by }, () => what);
    return undefined;
  },
});
