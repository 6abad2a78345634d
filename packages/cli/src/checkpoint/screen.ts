/** `checkpoint screen` and `checkpoint console`: what a person at the machine would have seen. */
import { DeviceStateError, savedScreen, screenLines, type TextScreen } from '@revenant/emulator';
import type { CheckpointReader } from '@revenant/storage';
import { printable } from './printable.ts';
import { CliError, ExitCode } from '../errors.ts';
import type { CheckpointCommand } from './context.ts';
import { glyph, glyphHeight, glyphWidth } from './font.ts';
import { writeOutput } from './pages.ts';
import { encodePng } from './png.ts';

/** Lines of the character cell that the cursor covers. */
const cursorTop = 13;

async function readScreen(reader: CheckpointReader): Promise<TextScreen> {
  const device = reader.state.devices['vga-text'];
  if (device === undefined || !reader.spaces.some(({ name }) => name === 'vram'))
    throw new CliError(
      ExitCode.badInput,
      'the machine has no display',
      "'checkpoint console' shows its serial ports",
    );
  const { pageCount } = reader.source('vram').map.space;
  const vram = await reader.readPages(
    'vram',
    Uint32Array.from({ length: pageCount }, (_, page) => page),
  );
  try {
    return savedScreen(device, vram);
  } catch (error) {
    if (error instanceof DeviceStateError)
      throw new CliError(ExitCode.badInput, error.message, undefined, error);
    throw error;
  }
}

/** The screen as a picture, 8x16 pixels a character; what blinks is shown. */
export function screenPng(screen: TextScreen): Buffer {
  const { columns, rows, cells, cursor, colours, blinks } = screen;
  const width = columns * glyphWidth;
  const pixels = new Uint8Array(width * rows * glyphHeight);
  for (const [n, cell] of cells.entries()) {
    const row = Math.floor(n / columns);
    const column = n % columns;
    const dots = glyph(cell & 0xff);
    const foreground = (cell >> 8) & 15;
    const background = (cell >> 12) & (blinks ? 7 : 15);
    const atCursor = cursor?.row === row && cursor.column === column;
    for (let y = 0; y < glyphHeight; y++)
      for (let x = 0; x < glyphWidth; x++) {
        const set = dots(x, y) || (atCursor && y >= cursorTop && y < glyphHeight - 1);
        pixels[(row * glyphHeight + y) * width + column * glyphWidth + x] = set ? foreground : background;
      }
  }
  return encodePng({ width, height: rows * glyphHeight, pixels, palette: colours });
}

export const screenCommand: CheckpointCommand = {
  summary: 'the display, as text or as PNG',
  usage: 'screen CHECKPOINT [--png FILE] [--json]',
  details: `  --png FILE       a picture in the colours of the machine's palette

Examples:
  revenant checkpoint screen vm1 --store file:/srv/revenant
  revenant checkpoint screen ./linux.checkpoint --png screen.png`,
  options: { png: { type: 'string' } },
  async run(context) {
    context.atMost(1);
    const screen = await readScreen(await context.checkpoint());
    const png = context.text('png');
    if (png !== undefined) writeOutput(png, screenPng(screen));
    const { columns, rows, cursor } = screen;
    const lines = screenLines(screen);
    context.show({ columns, rows, cursor: cursor ?? null, lines }, () => {
      if (png !== undefined) return `the screen (${columns}x${rows}) is in ${png}`;
      const edge = `+${'-'.repeat(columns)}+`;
      return [edge, ...lines.map((line) => `|${line.padEnd(columns)}|`), edge].join('\n');
    });
    return undefined;
  },
};

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

export const consoleCommand: CheckpointCommand = {
  summary: 'what the serial port sent last (up to 64 KiB)',
  usage: 'console CHECKPOINT [--port N] [--lines N] [--json]',
  details: `  --port N         serial port, from 0 (default: 0, COM1)
  --lines N        only the last N lines

Example:
  revenant checkpoint console vm1@12 --lines 20 --store file:/srv/revenant`,
  options: { port: { type: 'string' }, lines: { type: 'string' } },
  async run(context) {
    context.atMost(1);
    const port = context.count('port', 0);
    const log = serialLog(await context.checkpoint(), port);
    if (log === undefined)
      throw new CliError(
        ExitCode.badInput,
        'the checkpoint keeps no serial output',
        'it was made by a version that did not',
      );
    const whole = Buffer.from(log).toString('utf8');
    const wanted = context.count('lines', 0);
    // The end of the last line is no line of its own.
    const text = wanted === 0 ? whole : `${whole.trimEnd().split('\n').slice(-wanted).join('\n')}\n`;
    if (context.json) context.show({ port, bytes: log.length, text }, () => '');
    else {
      const shown = process.stdout.isTTY ? printable(text.replaceAll('\r\n', '\n')) : text;
      process.stdout.write(shown === '' || shown.endsWith('\n') ? shown : `${shown}\n`);
    }
    return undefined;
  },
};
