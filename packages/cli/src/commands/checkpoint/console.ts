/** `revenant checkpoint console`. */
import type { CheckpointReader } from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { value } from '../../command/options.ts';
import { wholeNumber } from '../../command/values.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { printable } from '../../output/printable.ts';

/** What serial port `port` sent last; undefined when the state is of a version that had no log. */
function serialLog(reader: CheckpointReader, port: number): Uint8Array | undefined {
  const device = reader.state.devices[`uart-16550a-${port}`];
  if (device === undefined)
    throw new CliError(
      ExitCode.badInput,
      `the machine has no serial port ${port}`,
      'ports count from 0 (COM1)',
    );
  const log = (device.state as { log?: unknown } | null)?.log;
  return log instanceof Uint8Array ? log : undefined;
}

export const command = define({
  words: ['CHECKPOINT'],
  options: {
    port: value('N', 'serial port, from 0 (default: 0, COM1)', wholeNumber(), 0),
    lines: value('N', 'only the last N lines', wholeNumber(1)),
    ...storeOptions,
  },
  examples: ['checkpoint console vm1@12 --lines 20 --store file:/srv/revenant'],
  async run(input) {
    const { port, lines } = input.options;
    const log = await inspecting(input.options, async (opener) =>
      serialLog(await opener.checkpoint(input.word(0)), port),
    );
    if (log === undefined)
      throw new CliError(
        ExitCode.badInput,
        'the checkpoint keeps no serial output',
        'it was made by a version that did not',
      );
    const whole = Buffer.from(log).toString('utf8');
    // The end of the last line is no line of its own.
    const text = lines === undefined ? whole : `${whole.trimEnd().split('\n').slice(-lines).join('\n')}\n`;
    if (input.json) {
      input.show({ port, bytes: log.length, text }, () => '');
      return undefined;
    }
    const shown = process.stdout.isTTY ? printable(text.replaceAll('\r\n', '\n')) : text;
    process.stdout.write(shown === '' || shown.endsWith('\n') ? shown : `${shown}\n`);
    return undefined;
  },
});
