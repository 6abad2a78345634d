/** A VGA programmed by its registers, and what the renderer makes of it. */
import { beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { FakeClock } from '../testing/contract.ts';
import { DisplayWatcher, vgaTextScreen } from './display.ts';
import { renderVga } from './vga-renderer.ts';
import { Vga, type VideoWindow } from './vga.ts';

const videoBytes = 16 * 2 ** 20;
const memory = new Uint8Array(videoBytes);
let windows: readonly VideoWindow[] = [];
let vga: Vga;

beforeEach(() => {
  memory.fill(0);
  vga = new Vga({
    clock: new FakeClock(),
    video: {
      memory: () => memory,
      changed: () => undefined,
      map: (now) => {
        windows = now;
      },
    },
    rom: () => new Uint8Array(0),
    firmware: { frameBuffer: 0xf000_0000, registers: 0xf100_0000 },
  });
  vga.reset();
});

interface Mode {
  misc: number;
  sequencer: readonly number[];
  crtc: readonly number[];
  graphics: readonly number[];
  attributes: readonly number[];
}

/** IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem": register values of the BIOS modes. */
const identity = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
// prettier-ignore
const modes = {
  cga4: { misc: 0x63, sequencer: [3, 9, 3, 0, 2], graphics: [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff], attributes: [...identity, 1, 0, 3, 0, 0],
    crtc: [0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff] },
  ega0d: { misc: 0x63, sequencer: [3, 9, 15, 0, 6], graphics: [0, 0, 0, 0, 0, 0, 5, 15, 0xff], attributes: [...identity, 1, 0, 15, 0, 0],
    crtc: [0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9, 0xe3, 0xff] },
  vga12: { misc: 0xe3, sequencer: [3, 1, 15, 0, 6], graphics: [0, 0, 0, 0, 0, 0, 5, 15, 0xff], attributes: [...identity, 1, 0, 15, 0, 0],
    crtc: [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff] },
  vga13: { misc: 0x63, sequencer: [3, 1, 15, 0, 14], graphics: [0, 0, 0, 0, 0, 0x40, 5, 15, 0xff], attributes: [...identity, 0x41, 0, 15, 0, 0],
    crtc: [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff] },
  modeX: { misc: 0xe3, sequencer: [3, 1, 15, 0, 6], graphics: [0, 0, 0, 0, 0, 0x40, 5, 15, 0xff], attributes: [...identity, 0x41, 0, 15, 0, 0],
    crtc: [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0d, 0x3e, 0, 0x41, 0, 0, 0, 0, 0, 0, 0xea, 0xac, 0xdf, 0x28, 0, 0xe7, 0x06, 0xe3, 0xff] },
} satisfies Record<string, Mode>;

const out = (port: number, value: number): void => {
  vga.writePort(port, 1, value);
};
function indexed(port: number, index: number, value: number): void {
  out(port, index);
  out(port + 1, value);
}
function setMode({ misc, sequencer, crtc, graphics, attributes }: Mode): void {
  out(0x3c2, misc);
  sequencer.forEach((value, n) => {
    indexed(0x3c4, n, value);
  });
  indexed(0x3d4, 0x11, 0); // unlock registers 0 to 7
  crtc.forEach((value, n) => {
    if (n !== 0x11) indexed(0x3d4, n, value);
  });
  graphics.forEach((value, n) => {
    indexed(0x3ce, n, value);
  });
  vga.readPort(0x3da, 1);
  attributes.forEach((value, n) => {
    out(0x3c0, n);
    out(0x3c0, value);
  });
  out(0x3c0, 0x20);
  // DAC: entry n is n, 63 - n, n & 15.
  out(0x3c8, 0);
  for (let n = 0; n < 256; n++) for (const level of [n & 63, 63 - (n & 63), n & 15]) out(0x3c9, level);
}
const level = (six: number): number => Math.round((six * 255) / 63);
const colour = (n: number): number[] => [level(n & 63), level(63 - (n & 63)), level(n & 15), 255];
const poke = (offset: number, value: number): void => {
  vga.writeMemory(offset, 1, value);
};
function pixel(x: number, y: number): number[] {
  const { rgba, width } = renderVga(vga.registers, memory);
  return [...rgba.subarray((y * width + x) * 4, (y * width + x) * 4 + 4)];
}
function size(): number[] {
  const { width, height } = renderVga(vga.registers, memory);
  return [width, height];
}

describe('standard modes', () => {
  test('text: characters through the odd/even memory, a font in plane 2, the cursor', () => {
    poke(0x1_8000 + 160 * 2 + 6, 'A'.charCodeAt(0));
    poke(0x1_8000 + 160 * 2 + 7, 0x1e);
    indexed(0x3d4, 0x0f, 163);
    const screen = vgaTextScreen(vga.registers, memory);
    assert.deepEqual([screen?.columns, screen?.rows, screen?.cursor], [80, 25, { column: 3, row: 2 }]);
    assert.equal(screen?.cells[163], 0x1e41);
    assert.equal(vga.readMemory(0x1_8000 + 160 * 2 + 6), 0x41);
    assert.deepEqual(size(), [720, 400]);
    // A font: line 5 of 'A' is all dots. It is loaded as BIOSes do it, through plane 2 by itself.
    indexed(0x3c4, 2, 4);
    indexed(0x3c4, 4, 6);
    indexed(0x3ce, 5, 0);
    indexed(0x3ce, 6, 4);
    poke(0x41 * 32 + 5, 0xff);
    indexed(0x3c4, 2, 3);
    indexed(0x3c4, 4, 2);
    indexed(0x3ce, 5, 0x10);
    indexed(0x3ce, 6, 0x0e);
    assert.deepEqual(pixel(27, 2 * 16 + 5), [255, 255, 85, 255]);
    assert.deepEqual(pixel(35, 2 * 16 + 5), [0, 0, 170, 255]); // the ninth dot is background
    assert.deepEqual(pixel(27, 2 * 16 + 6), [0, 0, 170, 255]);
  });

  test('mode 13h: one byte a pixel, and the window is plain memory', () => {
    setMode(modes.vga13);
    assert.deepEqual(size(), [320, 200]);
    assert.deepEqual(windows[0], { physical: 0xa_0000, length: 0x1_0000, memory: 0 });
    memory[7 * 320 + 5] = 200;
    assert.deepEqual(pixel(5, 7), colour(200));
    poke(319, 77); // the same by the device
    assert.deepEqual(pixel(319, 0), colour(77));
  });

  test('mode X: planes by hand, 320x240, page flip', () => {
    setMode(modes.modeX);
    assert.deepEqual(size(), [320, 240]);
    assert.equal(windows.length, 1); // the frame buffer only
    indexed(0x3c4, 2, 1 << (6 & 3));
    poke(3 * 80 + (6 >> 2), 99);
    assert.deepEqual(pixel(6, 3), colour(99));
    assert.deepEqual(pixel(5, 3), colour(0));
    indexed(0x3d4, 0x0c, 0x4b); // start at 19,200: the next page
    assert.deepEqual(pixel(6, 3), colour(0));
  });

  test('mode 12h: write modes, latches, functions and masks of the graphics controller', () => {
    setMode(modes.vga12);
    assert.deepEqual(size(), [640, 480]);
    indexed(0x3ce, 5, 2); // write mode 2: the byte is a colour
    indexed(0x3ce, 8, 0x81);
    vga.readMemory(80);
    poke(80, 0x0b);
    assert.deepEqual([pixel(0, 1), pixel(1, 1), pixel(7, 1)], [colour(11), colour(0), colour(11)]);
    indexed(0x3ce, 5, 0);
    indexed(0x3ce, 8, 0xff);
    indexed(0x3ce, 3, 0x18); // XOR
    vga.readMemory(80);
    poke(80, 0x80);
    assert.deepEqual(pixel(0, 1), colour(11 ^ 15));
    indexed(0x3ce, 3, 0);
    indexed(0x3ce, 5, 1); // write mode 1 copies the latches
    vga.readMemory(80);
    poke(81, 0);
    assert.deepEqual(pixel(15, 1), colour(11));
    indexed(0x3ce, 5, 3); // write mode 3: set/reset through a mask
    indexed(0x3ce, 0, 6);
    vga.readMemory(82);
    poke(82, 0x40);
    assert.deepEqual(pixel(17, 1), colour(6));
    indexed(0x3ce, 5, 8); // read mode 1: where is colour 6?
    indexed(0x3ce, 2, 6);
    indexed(0x3ce, 7, 15);
    assert.equal(vga.readMemory(82), 0x40);
  });

  test('mode 0Dh: 320x200 in planes; split screen and blanking', () => {
    setMode(modes.ega0d);
    assert.deepEqual(size(), [320, 200]);
    poke(40 * 100, 0x80);
    assert.deepEqual(pixel(0, 100), colour(15));
    indexed(0x3d4, 0x18, 0x8f); // line compare at half height (400 lines; its high bits are clear)
    indexed(0x3d4, 0x07, 0x0f);
    indexed(0x3d4, 0x09, 0x80);
    poke(40 * 3, 0x80);
    assert.deepEqual(pixel(0, 72 + 3), colour(15));
    vga.readPort(0x3da, 1);
    out(0x3c0, 0); // palette off
    assert.deepEqual(pixel(0, 75), [0, 0, 0, 255]);
    assert.deepEqual(size(), [320, 200]);
  });

  test('mode 4: two bits a pixel in two banks', () => {
    setMode(modes.cga4);
    assert.deepEqual(size(), [320, 200]);
    poke(0x1_8000, 0b11_10_01_00);
    poke(0x1_8000 + 0x2000 + 1, 0b01_00_00_00); // line 1, pixel 4
    assert.deepEqual(
      [0, 1, 2, 3].map((x) => pixel(x, 0)),
      [3, 2, 1, 0].map(colour),
    );
    assert.deepEqual(pixel(4, 1), colour(1));
  });
});

describe('VBE', () => {
  function vbe(width: number, height: number, depth: number, flags = 0x41): void {
    for (const [index, value] of [
      [4, 0],
      [1, width],
      [2, height],
      [3, depth],
      [4, flags],
    ] as const) {
      vga.writePort(0x1ce, 2, index);
      vga.writePort(0x1cf, 2, value);
    }
  }

  test('linear frame buffers of each depth', () => {
    for (const [depth, bytes, expected] of [
      [15, [0xe0, 0x7f], [255, 255, 0, 255]],
      [16, [0x1f, 0xf8], [255, 0, 255, 255]],
      [24, [1, 2, 3], [3, 2, 1, 255]],
      [32, [1, 2, 3, 0], [3, 2, 1, 255]],
    ] as const) {
      vbe(800, 600, depth);
      assert.deepEqual(size(), [800, 600]);
      memory.set(bytes, (2 * 800 + 3) * bytes.length);
      assert.deepEqual(pixel(3, 2), expected, `${String(depth)} bits`);
    }
    vbe(2560, 1600, 32);
    assert.deepEqual(size(), [2560, 1600]);
    assert.deepEqual(pixel(3, 2), [0, 0, 0, 255]); // a mode set clears
  });

  test('banks, virtual screens and panning; the guest asks for the limits', () => {
    vbe(640, 480, 8);
    vga.writePort(0x1ce, 2, 5);
    vga.writePort(0x1cf, 2, 3);
    assert.deepEqual(windows[0], { physical: 0xa_0000, length: 0x1_0000, memory: 0x3_0000 });
    vga.writePort(0x1ce, 2, 6);
    vga.writePort(0x1cf, 2, 1024);
    vga.writePort(0x1ce, 2, 9);
    vga.writePort(0x1cf, 2, 10);
    memory[10 * 1024] = 15;
    assert.notDeepEqual(pixel(0, 0), pixel(1, 0));
    vbe(640, 480, 8, 3);
    vga.writePort(0x1ce, 2, 1);
    assert.equal(vga.readPort(0x1cf, 2), 2560);
  });

  test('a size or depth that can not be is not taken', () => {
    vbe(640, 480, 32);
    for (const [index, value] of [
      [1, 60_000],
      [2, 5000],
      [3, 31],
      [5, 0xffff],
    ] as const) {
      vga.writePort(0x1ce, 2, index);
      vga.writePort(0x1cf, 2, value);
    }
    assert.deepEqual(size(), [640, 480]);
    assert.equal(windows[0]?.memory, 0);
    const saved = vga.save();
    assert.throws(() => {
      vga.restore(
        { ...saved, registers: { ...saved.registers, vbe: saved.registers.vbe.map(() => 60_000) } },
        1,
      );
    });
  });
});

test('a watcher is told what changed, in rectangles that hold it', () => {
  const watcher = new DisplayWatcher();
  const look = (): unknown => watcher.look(vga.registers, memory).changed;
  assert.deepEqual(look(), [{ x: 0, y: 0, width: 720, height: 400 }]);
  assert.deepEqual(look(), []);
  poke(0x1_8000 + 160 * 10 + 40, 0x42);
  poke(0x1_8000 + 160 * 10 + 41, 0x1f);
  const [area] = look() as { x: number; y: number; width: number; height: number }[];
  assert.ok(
    area !== undefined &&
      area.x <= 180 &&
      area.x + area.width >= 189 &&
      area.y <= 160 &&
      area.y + area.height >= 176,
  );
  assert.deepEqual(look(), []);
  poke(0x1_8000 + 7 * 2 + 1, 0x07);
  look();
  indexed(0x3d4, 0x0f, 7); // the cursor moves: its old and its new place
  assert.ok((look() as unknown[]).length >= 1);
  setMode(modes.vga13);
  assert.deepEqual(look(), [{ x: 0, y: 0, width: 320, height: 200 }]);
});
