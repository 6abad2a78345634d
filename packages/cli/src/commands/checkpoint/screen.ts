/** `revenant checkpoint screen`: what a person at the machine would have seen. */
import { savedPicture, savedScreen, screenLines, type TextScreen } from '@revenant/emulator';
import type { CheckpointReader } from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { writeOutput } from '../../output/file.ts';
import { whyBlank } from '../../output/blank-screen.ts';
import { say } from '../../output/print.ts';
import { encodeRgbPng } from '../../output/png.ts';
import { screenPng } from '../../output/screen-picture.ts';

interface Screen {
  text: TextScreen | undefined;
  png: () => Buffer;
  width: number;
  height: number;
  /** Why there is nothing to see. */
  blank: string | undefined;
}

async function readScreen(reader: CheckpointReader): Promise<Screen> {
  const { 'vga-text': text, vga } = reader.state.devices;
  const device = vga ?? text;
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
  if (vga !== undefined) {
    const { text: shown, picture } = savedPicture(vga, vram);
    const { width, height } = picture;
    const blank = whyBlank(shown === undefined ? picture : { lines: screenLines(shown) });
    return { text: shown, png: () => encodeRgbPng(picture), width, height, blank };
  }
  const screen = savedScreen(device, vram);
  const blank = whyBlank({ lines: screenLines(screen) });
  return { text: screen, png: () => screenPng(screen), width: screen.columns, height: screen.rows, blank };
}

export const command = define({
  words: ['CHECKPOINT'],
  options: { png: text('FILE', "a picture in the colours of the machine's palette"), ...storeOptions },
  examples: [
    'checkpoint screen vm1 --store file:/srv/revenant',
    'checkpoint screen ./linux.checkpoint --png screen.png',
  ],
  async run(input) {
    const { png } = input.options;
    const screen = await inspecting(input.options, async (opener) =>
      readScreen(await opener.checkpoint(input.word(0))),
    );
    if (png !== undefined) writeOutput(png, screen.png());
    if (screen.blank !== undefined) say(screen.blank);
    const { text: shown, width, height } = screen;
    if (shown === undefined) {
      input.show({ width, height, text: null }, () =>
        png === undefined
          ? `a picture of ${width}x${height}: --png FILE keeps it`
          : `the picture (${width}x${height}) is in ${png}`,
      );
      return undefined;
    }
    const { columns, rows, cursor } = shown;
    const lines = screenLines(shown);
    input.show({ columns, rows, cursor: cursor ?? null, lines }, () => {
      if (png !== undefined) return `the screen (${columns}x${rows}) is in ${png}`;
      const edge = `+${'-'.repeat(columns)}+`;
      return [edge, ...lines.map((line) => `|${line.padEnd(columns)}|`), edge].join('\n');
    });
    return undefined;
  },
});
