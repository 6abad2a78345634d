/** `revenant vm fork`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { flag, list, text, value } from '../../command/options.ts';
import { parsePublishOn } from '../../run/network-options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { wholeNumber } from '../../command/values.ts';

const maxForks = 1000;

export const command = define({
  words: ['NAME'],
  about: `A fork stores nothing but what its guest changes: memory and disks are shared in the store with those that it comes from, for as long as
it lives. The VM itself goes on, and may be deleted. Each fork has another generation ID, other random numbers and the right time, so
that its guest can tell; names and keys that a guest made for itself are those of its parent. In a network it has a MAC and an address of
its own from its first frame on (docs/NETWORK.md, "Forks"); its parent's connections are not its.`,
  options: {
    as: text('NEW', 'name of the fork; several are NEW-1, NEW-2, … (default: NAME-fork)'),
    count: value('N', `how many (default 1, at most ${maxForks})`, wholeNumber(1, maxForks), 1),
    at: text(
      'CHECKPOINT',
      'begin with this one, or with a snapshot by its name (default: its newest checkpoint)',
    ),
    identical: flag(
      `it is its parent in everything: the same generation ID, random numbers and clock, as for a replay; needed where the guest's
machine has nothing by which it could tell`,
    ),
    'no-network': flag('its card is in no network'),
    publish: list('[NODE:]PORT:GUESTPORT[/udp]', 'as vm create has it; of one fork', parsePublishOn),
    'no-start': flag('only enter them in the list'),
    'no-wait': flag('only until they are entered, not until they run'),
    ...connectOptions,
  },
  examples: [
    'vm fork web --as web-test --node 127.0.0.1:7001',
    'vm fork web --count 10 --at 3-120 --store file:/srv/revenant',
    'vm fork web --at before-upgrade --store file:/srv/revenant',
    'vm fork web --as web-test --publish 8081:80 --node 127.0.0.1:7001',
  ],
  async run(input) {
    const { as, count, at: checkpoint, identical, publish } = input.options;
    const { 'no-network': apart, 'no-start': stopped } = input.options;
    if (publish.length > 0 && count > 1)
      throw new CliError(
        ExitCode.usage,
        `--publish: ${count} forks can't share a port`,
        'fork one, or leave it out',
      );
    const parent = input.word(0);
    const base = as ?? `${parent}-fork`;
    const names = count === 1 ? [base] : Array.from({ length: count }, (_, i) => `${base}-${i + 1}`);
    await withCluster(input.options, async (client) => {
      // The first tells which checkpoint it is; all others begin with the same.
      let from = checkpoint;
      const how = {
        start: !stopped,
        ...(identical ? { identical } : {}),
        ...(apart ? { apart } : {}),
        ...(publish.length > 0 ? { publish } : {}),
      };
      for (const name of names) from = await client.fork(parent, { name, checkpoint: from, ...how });
      for (const vmId of names) await settled(client, { verb: 'create', vmId, by: 'node' }, input.options);
    });
    return undefined;
  },
});
