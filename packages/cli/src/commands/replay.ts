/** `revenant replay`: a VM's past, run again on this host. */
import { writeCheckpointFile } from '@revenant/storage';
import { inspecting, parseTarget, storeOptions, type Opener } from '../checkpoint/opener.ts';
import { define, type Input } from '../command/command.ts';
import { flag, text, value } from '../command/options.ts';
import { cannotWrite, CliError, ExitCode } from '../errors.ts';
import { writeOutput } from '../output/file.ts';
import { find } from '../replay/find.ts';
import { wanted, when, type Wanted } from '../replay/moment.ts';
import { Past, type Moment, type Run } from '../replay/past.ts';
import { writeMetrics } from '../replay/metrics.ts';
import { picture } from '../replay/picture.ts';
import { checkAll, finish, goTo, type CheckedSpan } from '../replay/replay.ts';

const options = {
  from: text('CHECKPOINT', 'where to begin (default: the last checkpoint before what is wanted)'),
  to: value('COUNT|TIME', 'where to stop: an instruction count, or a virtual time such as 12.5s', when),
  until: text('TEXT', 'stop when the console has said this'),
  find: value(
    'WHAT',
    `the first instruction at which something is so: 'serial:TEXT', 'pc:ADDRESS',
'memory:ADDRESS[/BYTES] changes', 'physical:ADDRESS[/BYTES] changes', 'text:TEXT in ram'`,
    wanted,
  ),
  check: flag('replay everything that is kept, and compare with each checkpoint'),
  metrics: text(
    'FILE',
    "with --check: what was found, for the textfile collector of Prometheus' node exporter",
  ),
  serial: flag("show the guest's console on stdout"),
  screenshot: text('FILE', 'a picture (PNG) of the display there'),
  save: text('FILE', 'a checkpoint file of that moment'),
  ...storeOptions,
};

const say = (line: string): void => {
  process.stderr.write(`revenant: ${line}\n`);
};

export const command = define({
  words: ['VM'],
  about: `Takes a checkpoint of the VM and the log of what came in behind it ('vm create --output log' keeps one) and runs the same instructions again: any
moment since the oldest kept checkpoint, exactly, without touching the living VM. Without --to, --until or --find it goes to the end of the log.
--check exits with 14 if anything came out differently.`,
  options,
  examples: [
    'replay vm1 --store file:/srv/revenant --to 12.5s --screenshot then.png',
    'replay vm1 --store file:/srv/revenant --until "Kernel panic" --save panic.checkpoint',
    'replay vm1 --store file:/srv/revenant --find "memory:0xffffffff82a3c000/8 changes"',
    'replay vm1 --store file:/srv/revenant --check --metrics /var/lib/prometheus/node-exporter/vm1.prom',
  ],
  async run(input) {
    return inspecting(input.options, async (opener) => {
      const { vmId, which } = parseTarget(input.word(0));
      if (
        [input.options.to, input.options.until, input.options.find, input.options.check || undefined].filter(
          (each) => each !== undefined,
        ).length > 1
      )
        throw new CliError(
          ExitCode.usage,
          '--to, --until, --find and --check each say where to go',
          'give one of them',
        );
      if (input.options.metrics !== undefined && !input.options.check)
        throw new CliError(ExitCode.usage, '--metrics tells what --check found', 'give both');
      const past = await Past.open(opener, vmId);
      if (input.options.check) return check(input, past, opener);
      const from = input.options.from ?? which;
      return show(input, past, from === undefined ? undefined : past.named(from));
    });
  },
});

async function check(input: Input<typeof options>, past: Past, opener: Opener): Promise<number | undefined> {
  const spans: CheckedSpan[] = [];
  const began = Date.now();
  for await (const span of checkAll(past, opener, say)) {
    if (!input.json) say(`${span.from} to ${span.to}, ${span.instructions} instructions: ${span.result}`);
    spans.push(span);
  }
  const count = (result: string): number => spans.filter((span) => span.result === result).length;
  const totals = { same: count('same'), different: count('different'), noLog: count('no log') };
  const atMs = Date.now();
  if (input.options.metrics !== undefined)
    writeMetrics(input.options.metrics, { vm: past.vmId, ...totals, atMs, tookMs: atMs - began });
  input.show(
    { vm: past.vmId, ...totals, spans },
    () =>
      `${past.vmId}: ${totals.same} spans came out the same, ${totals.different} differently, ${totals.noLog} have no log`,
  );
  return totals.different > 0 ? ExitCode.internal : undefined;
}

async function show(
  input: Input<typeof options>,
  past: Past,
  named: Moment | undefined,
): Promise<number | undefined> {
  const { to, until, find: sought, serial } = input.options;
  const console =
    serial && !input.json ? (bytes: Uint8Array): void => void process.stdout.write(bytes) : undefined;
  const options = { say, ...(console === undefined ? {} : { console }) };
  const what: Wanted | undefined = until === undefined ? sought : { kind: 'serial', text: until };
  if (what !== undefined) {
    const found = await find(past, named ?? past.oldest, what, options);
    if (found === undefined)
      throw new CliError(
        ExitCode.refused,
        `that is nowhere in what is kept of ${past.vmId}`,
        "'checkpoint list' shows where its past begins",
      );
    return tell(input, past, found.run);
  }
  const start =
    named ??
    past.before((head) =>
      to === undefined ? true : 'ns' in to ? head.virtualTimeNs <= to.ns : head.instructions <= to.count,
    );
  const run = await past.run(start, options);
  if (to === undefined) await finish(run.target.forward());
  else await goTo(run, to);
  return tell(input, past, run);
}

async function tell(input: Input<typeof options>, past: Past, run: Run): Promise<undefined> {
  const { screenshot, save } = input.options;
  const { target } = run;
  try {
    if (screenshot !== undefined) writeOutput(screenshot, picture(target.machine));
    if (save !== undefined)
      await writeCheckpointFile(save, target.snapshot()).catch((error: unknown) => {
        throw cannotWrite(save, error);
      });
    const seconds = Number(target.machine.timeNs) / 1e9;
    input.show(
      { vm: past.vmId, instructions: String(target.count), virtualTimeNs: String(target.machine.timeNs) },
      () => `${past.vmId}: instruction ${target.count}, ${seconds.toFixed(6)} s of virtual time`,
    );
  } finally {
    await run.close();
  }
  return undefined;
}
