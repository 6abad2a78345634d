/** `checkpoint search`: where bytes or a text stand in memory and on disks. */
import { GuestMemory, searchPages, textPatterns } from '@revenant/debugger/inspect';
import { inspecting, storeOptions, type Opener } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag, text, value, type Values } from '../../command/options.ts';
import { wholeNumber } from '../../command/values.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { say, table } from '../../output/print.ts';
import { Progress } from '../../output/progress.ts';
import { hex } from '../../output/text.ts';

const linesAround = 24;

function patterns(what: string, isHex: boolean): Uint8Array[] {
  if (!isHex) return textPatterns(what);
  const digits = what.replaceAll(/[\s_]|0x/g, '');
  if (digits === '' || digits.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(digits))
    throw new CliError(
      ExitCode.usage,
      `'${what}' is no row of bytes`,
      "write two hexadecimal digits for each, as in 'de ad be ef'",
    );
  return [Buffer.from(digits, 'hex')];
}

const printable = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');

const options = {
  hex: flag("BYTES in hexadecimal, for example 'eb fe'"),
  space: text('NAME', 'look only in ram, vram, disk0, …'),
  limit: value('N', 'stop after N places (default 1000)', wholeNumber(1, 1_000_000), 1000),
  ...storeOptions,
};

interface Place {
  space: string;
  address: string;
  context: string;
}

async function places(
  opener: Opener,
  [word = '', what = '']: readonly string[],
  { hex: isHex, space, limit }: Values<typeof options>,
): Promise<Place[]> {
  const wanted = patterns(what, isHex);
  const reader = await opener.checkpoint(word);
  const progress = new Progress('search');
  const found = await searchPages(reader, wanted, {
    limit,
    onProgress: progress.update,
    ...(space === undefined ? {} : { space }),
  }).finally(() => {
    progress.done();
  });
  const memory = new GuestMemory(reader);
  const rows: Place[] = [];
  for (const match of found) {
    const { pageSize, pageCount } = reader.source(match.space).map.space;
    const length = Math.min(pageSize * pageCount - match.offset, linesAround * 2);
    const page = Uint32Array.of(Math.floor(match.offset / pageSize));
    const bytes =
      match.space === 'ram'
        ? await memory.readPhysical(BigInt(match.offset), length)
        : (await reader.readPages(match.space, page)).subarray(match.offset % pageSize).subarray(0, length);
    rows.push({ space: match.space, address: hex(match.offset, 8), context: printable(bytes) });
  }
  return rows;
}

export const command = define({
  words: ['CHECKPOINT', 'TEXT|BYTES'],
  about:
    'A text is found as UTF-8 and as UTF-16. In RAM the address is the physical one. The exit code is 0 also when nothing is found.',
  options,
  examples: [
    "checkpoint search vm1 'Linux version' --store file:/srv/revenant",
    "checkpoint search ./linux.checkpoint --hex 'de ad be ef' --space ram",
  ],
  async run(input) {
    const rows = await inspecting(input.options, (opener) => places(opener, input.words, input.options));
    const { limit } = input.options;
    if (rows.length === limit) say(`there may be more: stopped at ${limit} (--limit)`);
    input.show(rows, () =>
      rows.length === 0
        ? 'not found'
        : table(
            ['SPACE', 'ADDRESS', ''],
            rows.map((row) => [row.space, row.address, row.context]),
          ),
    );
    return undefined;
  },
});
