/**
 * How rectangles of pixels travel: RFC 6143, 7.7, and rfbproto's Zlib and Tight. A zlib stream of a connection is a header and then blocks that stand for
 * themselves, each up to a sync flush, so nothing has to be kept between two rectangles but whether the header was sent.
 */
import { constants, deflateRawSync } from 'node:zlib';
import { convert, convertTight, cut, type PixelFormat, type Pixels } from './pixels.ts';
import { Encoding, joined, rectangle, words, type Area } from './rfb.ts';

/** RFC 1950: deflate with a window of 32 KiB, a quick level. */
const zlibHeader = Uint8Array.of(0x78, 0x01);
const level = 3;

/** The streams of a connection: Zlib's one, and Tight's four. */
export class DeflateStreams {
  readonly #begun = new Set<string>();

  deflate(stream: string, bytes: Uint8Array): Uint8Array {
    const blocks = deflateRawSync(bytes, { level, finishFlush: constants.Z_SYNC_FLUSH });
    if (this.#begun.has(stream)) return blocks;
    this.#begun.add(stream);
    return joined([zlibHeader, blocks]);
  }
}

export interface Viewer {
  format: PixelFormat;
  streams: DeflateStreams;
}

export type PixelEncoding = typeof Encoding.raw | typeof Encoding.zlib | typeof Encoding.tight;

/** rfbproto, Tight: no rectangle may be wider; what is higher than this many pixels in all is cut for the decoders' sake. */
const tightWidth = 2048;
const tightPixels = 65_536;

/** Rectangles, headers and all, that show an area of a picture. */
export function encodeArea(
  encoding: PixelEncoding,
  picture: { pixels: Pixels; width: number },
  area: Area,
  viewer: Viewer,
): Uint8Array[] {
  if (encoding !== Encoding.tight) {
    const bytes = convert(cut(picture.pixels, picture.width, area), viewer.format);
    if (encoding === Encoding.raw) return [joined([rectangle(area, encoding), bytes])];
    const packed = viewer.streams.deflate('zlib', bytes);
    return [joined([rectangle(area, encoding), words([32, packed.length]), packed])];
  }
  return pieces(area).map((piece) =>
    joined([
      rectangle(piece, encoding),
      encodeTight(cut(picture.pixels, picture.width, piece), piece.width, viewer),
    ]),
  );
}

function pieces({ x, y, width, height }: Area): Area[] {
  const found: Area[] = [];
  for (let left = 0; left < width; left += tightWidth) {
    const wide = Math.min(tightWidth, width - left);
    const rows = Math.max(1, Math.floor(tightPixels / wide));
    for (let top = 0; top < height; top += rows)
      found.push({ x: x + left, y: y + top, width: wide, height: Math.min(rows, height - top) });
  }
  return found;
}

const Tight = { fill: 0x80, filter: 0x40, palette: 1, stream: (n: number): number => n << 4 } as const;
/** Fewer bytes than this are not compressed. */
const tightLeast = 12;
const maxColours = 64;

/** The colours of an area in the order of their appearance; undefined when there are more than a palette is worth. */
function coloursOf(pixels: Pixels): Map<number, number> | undefined {
  const colours = new Map<number, number>();
  let last = -1;
  for (const pixel of pixels) {
    if (pixel === last) continue;
    last = pixel;
    if (colours.has(pixel)) continue;
    if (colours.size === maxColours) return undefined;
    colours.set(pixel, colours.size);
  }
  return colours;
}

function encodeTight(pixels: Pixels, width: number, viewer: Viewer): Uint8Array {
  const colours = coloursOf(pixels);
  const { format } = viewer;
  if (colours === undefined)
    return joined([words([8, 0]), packed('tight0', convertTight(pixels, format), viewer)]);
  const palette = convertTight(Uint32Array.from(colours.keys()), format);
  if (colours.size === 1) return joined([words([8, Tight.fill]), palette]);
  const stream = colours.size === 2 ? 1 : 2;
  const indexes =
    colours.size === 2
      ? bitmap(pixels, width, colours)
      : Uint8Array.from(pixels, (pixel) => colours.get(pixel) ?? 0);
  return joined([
    words([8, Tight.filter | Tight.stream(stream)], [8, Tight.palette], [8, colours.size - 1]),
    palette,
    packed(`tight${String(stream)}`, indexes, viewer),
  ]);
}

/** A bit a pixel, rows padded to bytes, the first pixel in the highest bit. */
function bitmap(pixels: Pixels, width: number, colours: ReadonlyMap<number, number>): Uint8Array {
  const pitch = Math.ceil(width / 8);
  const out = new Uint8Array((pixels.length / width) * pitch);
  for (const [n, pixel] of pixels.entries())
    if (colours.get(pixel) === 1) {
      const at = Math.floor(n / width) * pitch + ((n % width) >> 3);
      out[at] = (out[at] ?? 0) | (0x80 >> ((n % width) & 7));
    }
  return out;
}

function packed(stream: string, bytes: Uint8Array, { streams }: Viewer): Uint8Array {
  if (bytes.length < tightLeast) return bytes;
  const blocks = streams.deflate(stream, bytes);
  const { length } = blocks;
  // Seven bits a byte, the lowest first; bit 7 says that another follows. The third byte has eight.
  const size =
    length < 0x80
      ? [length]
      : length < 0x4000
        ? [(length & 0x7f) | 0x80, length >> 7]
        : [(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
  return joined([Uint8Array.from(size), blocks]);
}
