/** `revenant debug trace`: what a guest does, event by event. */
import { openSync, closeSync, writeSync } from 'node:fs';
import { flameSvg, parseTime, sample, Tap, trace, traceWriter, type TraceKind } from '@revenant/debugger';
import { makeNodeEngine } from '@revenant/emulator/host-node';
import { define } from '../../command/command.ts';
import { flag, text, value, type Parser } from '../../command/options.ts';
import { count, oneOf, parseNumber, wholeNumber } from '../../command/values.ts';
import { openTarget, type OpenTarget } from '../../debug/open.ts';
import { readSymbols } from '../../debug/symbols.ts';
import { cannotWrite, CliError, ExitCode } from '../../errors.ts';
import { writeOutput } from '../../output/file.ts';
import { guestOptions, guestRequest } from '../../run/options.ts';

const defaultLimit = 10_000;
const maxRange = 4096;

const range: Parser<{ address: bigint; bytes: number }> = (word, name) => {
  const [, address = '', bytes = '4'] = /^(\w+)(?:\/(\d{1,4}))?$/.exec(word) ?? [];
  const at = parseNumber(address);
  if (at === undefined || Number(bytes) < 1 || Number(bytes) > maxRange)
    throw new CliError(
      ExitCode.usage,
      `${name}: '${word}' is no range`,
      `for example ${name} 0xffffffff82a3c000/8`,
    );
  return { address: at, bytes: Number(bytes) };
};

type When = { count: bigint } | { ns: bigint };
const when: Parser<When> = (word, name) => {
  const ns = parseTime(word);
  return ns === undefined ? { count: count(word, name) } : { ns };
};

// prettier-ignore
const options = {
  instructions: flag('each instruction'),
  calls: flag('calls and returns'),
  io: flag('accesses to ports and to memory of devices'),
  interrupts: flag('interrupts from outside and NMIs, by vector'),
  accesses: value('ADDRESS[/BYTES]', 'accesses to a range of linear addresses', range),
  flame: text('FILE', 'a flame graph (SVG) of functions instead, by samples'),
  every: value('N', 'instructions between two samples (default 100000)', count, 100_000n),
  from: value('COUNT|TIME', 'where to begin (default: at once)', when),
  to: value('COUNT', 'where to end', count),
  limit: value('N', `events at most (default ${defaultLimit})`, wholeNumber(1, 100_000_000), defaultLimit),
  format: value('NAME', 'text (default), json (a line each) or perfetto', oneOf(['text', 'json', 'perfetto']), 'text' as const),
  output: text('FILE', 'where it goes (default: stdout)'),
  symbols: text('FILE', 'names of addresses: System.map, or what nm prints'),
  ...guestOptions,
};

export const command = define({
  words: ['[IMAGE|FILE]'],
  about: `Runs the guest by virtual time and writes down what happens, up to --limit events. It is the guest that it is without a trace.
Instructions and calls are traced by single steps, everything else at full speed.`,
  options,
  examples: [
    'debug trace linux-cloud --io --limit 100',
    'debug trace --restore linux.checkpoint --calls --symbols System.map --format perfetto --output calls.json',
    'debug trace linux-cloud --from 1.5s --accesses 0x500/4',
    'debug trace linux-cloud --flame boot.svg --to 500000000 --symbols System.map',
  ],
  async run(input) {
    const { accesses, flame, from } = input.options;
    const kinds: TraceKind[] = (['instructions', 'calls', 'io', 'interrupts'] as const).filter(
      (each) => input.options[each],
    );
    if (accesses !== undefined) kinds.push('memory');
    const [kind] = kinds;
    if (kinds.length + (flame === undefined ? 0 : 1) !== 1 || (kind === undefined && flame === undefined))
      throw new CliError(
        ExitCode.usage,
        'what is to be traced?',
        'give one of --instructions, --calls, --io, --interrupts, --accesses, --flame',
      );
    const tap = new Tap();
    const request = guestRequest(input.options, input.words[0]);
    const open = await openTarget(
      { ...request, serial: { kind: 'none' }, engine: 'translator' },
      {
        say: (line) => process.stderr.write(`revenant: ${line}\n`),
        engine: tap.around(makeNodeEngine({ kind: 'translator' })),
      },
    );
    try {
      if (from !== undefined) goTo(open, from);
      if (kind === undefined) writeFlame(open, flame ?? '', input.options);
      else
        writeTrace(
          open,
          tap,
          { kind, ...(accesses === undefined ? {} : { range: accesses }) },
          input.options,
        );
    } finally {
      await open.close();
    }
    return undefined;
  },
});

function goTo({ target }: OpenTarget, from: When): void {
  const steps = 'ns' in from ? target.goToTime(from.ns) : target.goTo(from.count);
  while (steps.next().done !== true);
}

interface Shown {
  symbols: string | undefined;
  to: bigint | undefined;
}

function writeTrace(
  { target }: OpenTarget,
  tap: Tap,
  request: { kind: TraceKind; range?: { address: bigint; bytes: number } },
  {
    symbols,
    to,
    limit,
    format,
    output,
  }: Shown & { limit: number; format: 'text' | 'json' | 'perfetto'; output: string | undefined },
): void {
  const writer = traceWriter(format, symbols === undefined ? undefined : readSymbols(symbols));
  const file = output === undefined ? process.stdout.fd : create(output);
  try {
    writeSync(file, writer.head);
    let events = 0;
    for (const event of trace(target, { ...request, ...(to === undefined ? {} : { to }) }, tap)) {
      if (event === undefined) continue;
      writeSync(file, writer.line(event));
      if (++events >= limit) break;
    }
    writeSync(file, writer.tail);
  } finally {
    if (output !== undefined) closeSync(file);
  }
}

function create(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function writeFlame(
  { target }: OpenTarget,
  path: string,
  { symbols, to, every }: Shown & { every: bigint },
): void {
  const nameOf = symbols === undefined ? () => undefined : readSymbols(symbols);
  const end = to ?? target.count + 1_000_000_000n;
  const steps = sample(target, { every, to: end, nameOf });
  for (;;) {
    const step = steps.next();
    if (step.done !== true) continue;
    writeOutput(path, Buffer.from(flameSvg(step.value)));
    process.stderr.write(`revenant: ${step.value.samples} samples are in ${path}\n`);
    return;
  }
}
