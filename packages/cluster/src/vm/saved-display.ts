/** What the display of a stored VM showed at one of its checkpoints. */
import { savedPicture, savedScreen, screenLines, type TextScreen } from '@revenant/emulator';
import type { CheckpointReader } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import type { ScreenAnswer } from '../protocol/api.ts';

/** Throws ClusterError `CONFLICT` for a machine without a display, or one that shows no text just then. */
export async function savedDisplay(reader: CheckpointReader): Promise<ScreenAnswer> {
  const { vga, 'vga-text': text } = reader.state.devices;
  const device = vga ?? text;
  const space = reader.spaces.find(({ name }) => name === 'vram');
  if (device === undefined || space === undefined)
    throw new ClusterError('CONFLICT', `${reader.vmId} has no display`);
  const vram = await reader.readPages(
    'vram',
    Uint32Array.from({ length: space.pageCount }, (_, page) => page),
  );
  const screen = vga === undefined ? savedScreen(device, vram) : savedPicture(device, vram).text;
  if (screen === undefined) throw new ClusterError('CONFLICT', `${reader.vmId} shows no text`);
  return screenAnswer(screen);
}

/** A text screen as it travels. */
export function screenAnswer(screen: TextScreen): ScreenAnswer {
  const { columns, rows, cells, cursor, colours, blinks } = screen;
  return {
    ...{ columns, rows, blinks, cells: [...cells], lines: screenLines(screen) },
    colours: colours.map(([red, green, blue]): [number, number, number] => [red, green, blue]),
    ...(cursor === undefined ? {} : { cursor }),
  };
}
