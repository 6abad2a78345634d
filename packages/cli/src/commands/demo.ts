/** `revenant demo`: what `npm start` runs. */
import { runClusterDemo } from '@revenant/cluster';
import { define } from '../command/command.ts';
import { flag, value } from '../command/options.ts';
import { oneOf } from '../command/values.ts';
import { demoGuest, demoGuests } from '../demo/guest.ts';
import { ExitCode } from '../errors.ts';
import { print } from '../output/print.ts';

export const command = define({
  words: [],
  about: `Starts three node processes around an object store in a temporary folder, and a guest that computes a chain of digests.
Then the master, which runs the guest, is killed with SIGKILL; the node that took the guest over is frozen with SIGSTOP
and thawed later; the next one is cut off from the network, but not from the store. After each: what was detected,
decided and resumed, with times, and whether the chain is whole. Exit code 0: no step was lost or wrong and every node
did what it must; 1: not so.`,
  options: {
    guest: value(
      'NAME',
      `linux: Debian's cloud kernel with BusyBox, made from Debian packages (kept in the cache);
builtin: Revenant's own small 64-bit guest, which needs no download
(default: linux, and the built-in guest where no packages can be had)`,
      oneOf(demoGuests),
    ),
    profile: value(
      'NAME',
      'how quickly the nodes detect and take over: default (as in production) or fast',
      oneOf(['default', 'fast']),
      'default' as const,
    ),
    keep: flag('leaves the cluster running at the end and says how to look around'),
  },
  examples: ['demo', 'demo --guest builtin --profile fast', 'demo --keep'],
  async run({ options }) {
    const { profile, keep } = options;
    const guest = await demoGuest(options.guest, print);
    const green = await runClusterDemo({ guest, profile, keep, say: print });
    return green ? ExitCode.ok : 1;
  },
});
