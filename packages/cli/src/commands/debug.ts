/** `revenant debug`: looks into the emulator itself. */
import type { Command } from '../command.ts';
import { CliError, ExitCode } from '../errors.ts';
import { findHot, hotText } from '../debug/hot.ts';
import { parseRunOptions } from '../run/options.ts';

const defaultInstructions = 1_000_000_000n;
const defaultTop = 10;
const defaultLines = 24;

interface HotWords {
  run: string[];
  instructions: bigint;
  top: number;
  full: boolean;
  json: boolean;
}

function wholeNumber(option: string, text: string | undefined): bigint {
  if (text === undefined || !/^[1-9]\d*$/.test(text))
    throw new CliError(
      ExitCode.usage,
      `--${option} needs a whole number from 1`,
      `for example --${option} 500000000`,
    );
  return BigInt(text);
}

/** Takes our own options out of the words; the others are those of `revenant run`. */
function parseHot(words: readonly string[]): HotWords {
  const result: HotWords = {
    run: [],
    instructions: defaultInstructions,
    top: defaultTop,
    full: false,
    json: false,
  };
  for (let i = 0; i < words.length; i++) {
    const [word = '', attached] = (words[i] ?? '').split(/=(.*)/s);
    const value = (): string | undefined => attached ?? words[++i];
    if (word === '--instructions') result.instructions = wholeNumber('instructions', value());
    else if (word === '--top') result.top = Number(wholeNumber('top', value()));
    else if (word === '--full') result.full = true;
    else if (word === '--json') result.json = true;
    else result.run.push(words[i] ?? '');
  }
  if (!result.run.some((word) => word.startsWith('--serial'))) result.run.push('--serial', 'none');
  return result;
}

export const command: Command = {
  summary: 'look into the emulator: the hottest translated code',
  help: `Usage: revenant debug hot IMAGE [OPTIONS]
       revenant debug hot [OPTIONS OF revenant run] [OPTIONS]

Runs a guest on the translator for a while and lists the regions of translated code in which the time went: guest addresses,
guest code, share of the time (sampled), bytes of generated WebAssembly. Idle time of the guest is skipped.

  --instructions N   how long to run (default ${defaultInstructions}); the run may end before by itself
  --top N            how many regions (default ${defaultTop})
  --full             all of their code, not only the first ${defaultLines} lines of each
  --json             the same as JSON
  --serial stdio     shows the guest's console on stderr

Examples:
  revenant debug hot linux-cloud
  revenant debug hot linux-i386 --append 'run="gzip -c /bin/busybox"' --instructions 2000000000 --top 3
  revenant debug hot --restore linux.checkpoint --json`,
  async run(words) {
    const [what, ...rest] = words;
    if (what !== 'hot')
      throw new CliError(
        ExitCode.usage,
        what === undefined ? 'debug: what?' : `debug: there is no '${what}'`,
        'revenant debug hot IMAGE',
      );
    const { run, instructions, top, full, json } = parseHot(rest);
    const found = await findHot(parseRunOptions(run), instructions, top);
    process.stdout.write(
      json ? `${JSON.stringify(found, undefined, 2)}\n` : hotText(found, full ? Infinity : defaultLines),
    );
    return ExitCode.ok;
  },
};
