/** A guest that resets its machine starts again from the same files, though the first start's copies of them are gone. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const loadAddress = 0x10_0000;
const headerBytes = 32;

/** A multiboot kernel: says R, and resets the machine the first time, which it knows by a byte of CMOS memory; then ends the run. */
function resettingKernel(): Uint8Array {
  const code = [
    ...[0x66, 0xba, 0xf8, 0x03, 0xb0, 0x52, 0xee], // mov dx, 3f8h; mov al, 'R'; out dx, al
    ...[0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71], // mov al, 50h; out 70h, al; in al, 71h
    ...[0x3c, 0x01, 0x74, 14], // cmp al, 1; je end
    ...[0xb0, 0x50, 0xe6, 0x70, 0xb0, 0x01, 0xe6, 0x71], // mov al, 50h; out 70h, al; mov al, 1; out 71h, al
    ...[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe], // mov al, 0feh; out 64h, al: the keyboard controller resets; jmp $
    ...[0xb0, 0x00, 0xe6, 0xf4, 0xeb, 0xfe], // end: mov al, 0; out 0f4h, al; jmp $
  ];
  const image = new Uint8Array(3 * 2 ** 19); // larger than what is left to the collection of garbage
  const view = new DataView(image.buffer);
  const flags = 0x1_0000;
  const words = [
    0x1bad_b002,
    flags,
    -(0x1bad_b002 + flags),
    loadAddress,
    loadAddress,
    0,
    0,
    loadAddress + headerBytes,
  ];
  words.forEach((word, i) => {
    view.setInt32(i * 4, word, true);
  });
  image.set(code, headerBytes);
  return image;
}

test('a reset starts the kernel again', () => {
  const folder = mkdtempSync(join(tmpdir(), 'revenant-reset-'));
  try {
    const kernel = join(folder, 'kernel');
    writeFileSync(kernel, resettingKernel());
    const main = join(import.meta.dirname, '../main.ts');
    const options = ['run', '--kernel', kernel, '--debug-exit', '0xf4', '--clock', 'virtual'];
    const run = spawnSync(process.execPath, [main, ...options], { input: '', encoding: 'latin1' });
    assert.equal(run.stdout, 'RR', run.stderr);
    assert.equal(run.status, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
