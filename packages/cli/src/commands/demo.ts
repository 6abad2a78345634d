/** `revenant demo`: what `npm start` runs. */
import { parseArgs } from 'node:util';
import { runClusterDemo } from '@revenant/cluster';
import type { Command } from '../command.ts';
import { demoGuest, demoGuests } from '../demo/guest.ts';
import { CliError, ExitCode } from '../errors.ts';

export const command: Command = {
  summary: 'a guest survives the death of its node, before your eyes',
  help: `Usage: revenant demo [--guest linux|builtin] [--profile default|fast] [--keep]

Starts three node processes around an object store in a temporary folder, and a guest that computes a chain of digests.
Then the master, which runs the guest, is killed with SIGKILL; the node that took the guest over is frozen with SIGSTOP
and thawed later; the next one is cut off from the network, but not from the store. After each: what was detected,
decided and resumed, with times, and whether the chain is whole. Exit code 0: no step was lost or wrong and every node
did what it must; 1: not so.

  --guest linux     Debian's cloud kernel with BusyBox, made from Debian packages (kept in the cache)
  --guest builtin   Revenant's own small 64-bit guest, which needs no download
                    default: linux, and the built-in guest where no packages can be had
  --profile NAME    how quickly the nodes detect and take over: default (as in production) or fast
  --keep            leaves the cluster running at the end and says how to look around

Examples:
  revenant demo
  revenant demo --guest builtin --profile fast
  revenant demo --keep`,
  async run(words) {
    const { values } = parseArgs({
      args: words,
      options: {
        guest: { type: 'string' },
        profile: { type: 'string', default: 'default' },
        keep: { type: 'boolean', default: false },
      },
    });
    const { profile, keep } = values;
    const guest = demoGuests.find((name) => name === values.guest);
    if (values.guest !== undefined && guest === undefined)
      throw new CliError(
        ExitCode.usage,
        `there is no guest '${values.guest}' for the demo`,
        'choose --guest linux or --guest builtin',
      );
    if (profile !== 'default' && profile !== 'fast')
      throw new CliError(
        ExitCode.usage,
        `there is no profile '${profile}'`,
        'choose --profile default or --profile fast',
      );
    const say = (line: string): void => {
      process.stdout.write(`${line}\n`);
    };
    const green = await runClusterDemo({ guest: await demoGuest(guest, say), profile, keep, say });
    return green ? ExitCode.ok : 1;
  },
};
