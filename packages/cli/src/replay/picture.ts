/** The picture (PNG) of what a replayed machine shows. */
import type { Machine } from '@revenant/emulator';
import { CliError, ExitCode } from '../errors.ts';
import { encodeRgbPng } from '../output/png.ts';
import { screenPng } from '../output/screen-picture.ts';

/** Throws CliError for a machine without a display. */
export function picture(machine: Machine): Uint8Array {
  const shown = machine.screen();
  const graphics = machine.display.picture();
  if (graphics === undefined && shown !== undefined) return screenPng(shown);
  if (graphics !== undefined) return encodeRgbPng(graphics);
  throw new CliError(ExitCode.badInput, '--screenshot: the machine has no display', 'leave it out');
}
