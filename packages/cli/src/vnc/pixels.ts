/** Pixels as a viewer wants them: RFC 6143, 7.4. */
import { joined, words, type Area } from './rfb.ts';

export interface PixelFormat {
  bitsPerPixel: 8 | 16 | 32;
  depth: number;
  bigEndian: boolean;
  /** Largest values and places of red, green and blue. */
  max: readonly [number, number, number];
  shift: readonly [number, number, number];
}

export const pixelFormatBytes = 16;

/** As pictures lie in memory here: red, green, blue, and a byte that is left out. */
export const nativeFormat: PixelFormat = {
  bitsPerPixel: 32,
  depth: 24,
  bigEndian: false,
  max: [255, 255, 255],
  shift: [0, 8, 16],
};

export function writePixelFormat({ bitsPerPixel, depth, bigEndian, max, shift }: PixelFormat): Uint8Array {
  return joined([
    words([8, bitsPerPixel], [8, depth], [8, bigEndian ? 1 : 0], [8, 1]),
    words(
      [16, max[0]],
      [16, max[1]],
      [16, max[2]],
      [8, shift[0]],
      [8, shift[1]],
      [8, shift[2]],
      [8, 0],
      [8, 0],
      [8, 0],
    ),
  ]);
}

/** Undefined for what can't be served: palettes, and colours that do not lie within a pixel. */
export function readPixelFormat(bytes: Uint8Array): PixelFormat | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, pixelFormatBytes);
  const bitsPerPixel = view.getUint8(0);
  if (bitsPerPixel !== 8 && bitsPerPixel !== 16 && bitsPerPixel !== 32) return undefined;
  const max = [view.getUint16(4), view.getUint16(6), view.getUint16(8)] as const;
  const shift = [view.getUint8(10), view.getUint8(11), view.getUint8(12)] as const;
  const fits = max.every(
    (one, n) =>
      one >= 1 &&
      one <= 255 &&
      Math.log2(one + 1) % 1 === 0 &&
      (shift[n] ?? 32) + Math.log2(one + 1) <= bitsPerPixel,
  );
  if (view.getUint8(3) === 0 || !fits) return undefined;
  return { bitsPerPixel, depth: view.getUint8(1), bigEndian: view.getUint8(2) !== 0, max, shift };
}

/** Pixels of a picture as words: red in the lowest byte. */
export type Pixels = Uint32Array;

/** The pixels of an area of a picture that is `pitch` pixels wide. */
export function cut(picture: Pixels, pitch: number, { x, y, width, height }: Area): Pixels {
  const out = new Uint32Array(width * height);
  for (let row = 0; row < height; row++) {
    const from = (y + row) * pitch + x;
    out.set(picture.subarray(from, from + width), row * width);
  }
  return out;
}

function isNative({ bitsPerPixel, bigEndian, max, shift }: PixelFormat): boolean {
  return bitsPerPixel === 32 && !bigEndian && max.every((one) => one === 255) && shift.join() === '0,8,16';
}

export function convert(pixels: Pixels, format: PixelFormat): Uint8Array {
  if (isNative(format)) return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length * 4);
  const { max, shift, bigEndian } = format;
  const size = format.bitsPerPixel / 8;
  const out = new Uint8Array(pixels.length * size);
  const view = new DataView(out.buffer);
  const [redBits, greenBits, blueBits] = max.map((one) => 8 - Math.log2(one + 1)) as [number, number, number];
  for (const [n, pixel] of pixels.entries()) {
    const value =
      (((pixel & 0xff) >> redBits) << shift[0]) |
      ((((pixel >> 8) & 0xff) >> greenBits) << shift[1]) |
      ((((pixel >> 16) & 0xff) >> blueBits) << shift[2]);
    if (size === 1) out[n] = value;
    else if (size === 2) view.setUint16(n * 2, value & 0xffff, !bigEndian);
    else view.setUint32(n * 4, value >>> 0, !bigEndian);
  }
  return out;
}

/** A pixel as Tight has it: three bytes where a viewer's format is full colour. */
export function convertTight(pixels: Pixels, format: PixelFormat): Uint8Array {
  if (format.bitsPerPixel !== 32 || format.depth !== 24 || format.max.some((one) => one !== 255))
    return convert(pixels, format);
  const out = new Uint8Array(pixels.length * 3);
  let at = 0;
  for (const pixel of pixels) {
    out[at++] = pixel & 0xff;
    out[at++] = (pixel >> 8) & 0xff;
    out[at++] = (pixel >> 16) & 0xff;
  }
  return out;
}
