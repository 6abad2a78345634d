/** `checkpoint search`: where bytes or a text stand in memory and on disks. */
import { searchPages, textPatterns } from '@revenant/storage';
import { CliError, ExitCode } from '../errors.ts';
import { hex, table, type CheckpointCommand, type Context } from './context.ts';
import { GuestMemory } from './guest-memory.ts';

const linesAround = 24;

function patterns(context: Context): Uint8Array[] {
  const what = context.word(1, 'what to search for');
  if (!context.flag('hex')) return textPatterns(what);
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

export const command: CheckpointCommand = {
  summary: 'find bytes or a text, with addresses',
  usage: 'search CHECKPOINT TEXT|BYTES [--hex] [--space NAME] [--limit N] [--json]',
  details: `A text is found as UTF-8 and as UTF-16. In RAM the address is the physical one. The exit code is 0 also when nothing is found.

  --hex            BYTES in hexadecimal, for example 'eb fe'
  --space NAME     look only in ram, vram, disk0, …
  --limit N        stop after N places (default 1000)

Examples:
  revenant checkpoint search vm1 'Linux version' --store file:/srv/revenant
  revenant checkpoint search ./linux.checkpoint --hex 'de ad be ef' --space ram`,
  options: { hex: { type: 'boolean' }, space: { type: 'string' }, limit: { type: 'string' } },
  async run(context) {
    context.atMost(2);
    const wanted = patterns(context);
    const limit = context.count('limit', 1000);
    const reader = await context.checkpoint();
    const progress = context.progress('search');
    const space = context.text('space');
    const found = await searchPages(reader, wanted, {
      limit, onProgress: progress.update, ...(space === undefined ? {} : { space }),
    }).finally(() => progress.done()); // prettier-ignore
    const memory = new GuestMemory(reader);
    const rows: { space: string; address: string; context: string }[] = [];
    for (const match of found) {
      const { pageSize, pageCount } = reader.source(match.space).map.space;
      const room = pageSize * pageCount - match.offset;
      const first = Math.floor(match.offset / pageSize);
      const bytes = match.space === 'ram'
        ? await memory.readPhysical(BigInt(match.offset), Math.min(room, linesAround * 2))
        : (await reader.readPages(match.space, Uint32Array.of(first))).subarray(match.offset % pageSize).subarray(0, linesAround * 2); // prettier-ignore
      rows.push({ space: match.space, address: hex(match.offset, 8), context: printable(bytes) });
    }
    if (rows.length === limit)
      process.stderr.write(`revenant: there may be more: stopped at ${limit} (--limit)\n`);
    context.show(rows, () =>
      rows.length === 0
        ? 'not found'
        : table(
            ['SPACE', 'ADDRESS', ''],
            rows.map((row) => [row.space, row.address, row.context]),
          ),
    );
    return undefined;
  },
};
