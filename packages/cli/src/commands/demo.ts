/** `revenant demo`: what `npm start` runs. */
import { parseArgs } from 'node:util';
import type { Command } from '../command.ts';
import { runDemo } from '../demo/demo.ts';
import { CliError, ExitCode } from '../errors.ts';

const guests = ['linux', 'builtin'] as const;

export const command: Command = {
  summary: 'a guest survives the death of its process, before your eyes',
  help: `Usage: revenant demo [--guest linux|builtin]

Boots a guest that computes a chain of digests, writes checkpoints of it to an object store in a temporary folder, kills
its process with SIGKILL twice, and lets another process carry the computation on. At the end every step of the chain
is checked. Exit code 0: no step was lost, repeated or wrong; 1: the chain is broken or something took too long.

  --guest linux     Debian's cloud kernel with BusyBox, made from Debian packages (kept in the cache)
  --guest builtin   Revenant's own small 64-bit guest, which needs no download
                    default: linux, and the built-in guest where no packages can be had

Examples:
  revenant demo
  revenant demo --guest builtin`,
  async run(words) {
    const { values } = parseArgs({ args: words, options: { guest: { type: 'string' } } });
    const guest = guests.find((name) => name === values.guest);
    if (values.guest !== undefined && guest === undefined) {
      throw new CliError(
        ExitCode.usage,
        `there is no guest '${values.guest}' for the demo`,
        'choose --guest linux or --guest builtin',
      );
    }
    const say = (line: string): void => {
      process.stdout.write(`${line}\n`);
    };
    return (await runDemo({ ...(guest === undefined ? {} : { guest }), say })) ? ExitCode.ok : 1;
  },
};
