/** v86's own save_state and restore_state on Debian's 32-bit kernel in 128 MiB: medians of five, as JSON on the last line. */
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import { firmware } from './emulators.ts';
import { median } from './report.ts';

interface V86Emulator {
  add_listener(event: string, listener: (value: number) => void): void;
  run(): Promise<void>;
  stop(): Promise<void>;
  save_state(): Promise<ArrayBuffer>;
  restore_state(state: ArrayBuffer): Promise<void>;
}

const folder = dirname(createRequire(import.meta.url).resolve('v86/package.json'));
const { V86 } = (await import('v86')) as unknown as { V86: new (options: object) => V86Emulator };
const image = await fetchImage('linux-i386', () => undefined);

async function buffer(path: string): Promise<{ buffer: ArrayBuffer }> {
  return { buffer: Uint8Array.from(await readFile(path)).buffer };
}

const { manifest } = image;
const emulator = new V86({
  wasm_path: join(folder, 'build/v86.wasm'),
  memory_size: 128 * 2 ** 20,
  bios: await buffer(firmware[0]),
  vga_bios: await buffer(firmware[1]),
  bzimage: await buffer(join(image.folder, manifest.bzImage.file)),
  initrd: await buffer(join(image.folder, manifest.initrd.file)),
  cmdline: manifest.commandLine,
  autostart: false,
  disable_speaker: true,
});
let text = '';
await new Promise<void>((resolve) => {
  emulator.add_listener('serial0-output-byte', (value) => {
    text = (text + String.fromCharCode(value)).slice(-40);
    if (text.endsWith('# ')) resolve();
  });
  emulator.add_listener('emulator-ready', () => void emulator.run());
});
await emulator.stop();
const [saves, restores]: [number[], number[]] = [[], []];
let bytes = 0;
for (let n = 0; n < 5; n++) {
  const began = performance.now();
  const state = await emulator.save_state();
  saves.push(performance.now() - began);
  bytes = state.byteLength;
  const saved = performance.now();
  await emulator.restore_state(state);
  restores.push(performance.now() - saved);
}
process.stdout.write(`${JSON.stringify({ saveMs: median(saves), restoreMs: median(restores), bytes })}\n`);
process.exit(0);
