/** Messages of a viewer that is in: RFC 6143, 7.5, taken from a stream of bytes. Nothing of a message is kept but what is used of it. */
import { pixelFormatBytes, readPixelFormat, type PixelFormat } from './pixels.ts';
import { ClientMessage, QemuMessage, type Area } from './rfb.ts';

export type Request =
  | { kind: 'pixelFormat'; format: PixelFormat }
  | { kind: 'encodings'; encodings: number[] }
  | { kind: 'update'; incremental: boolean; area: Area }
  | { kind: 'key'; pressed: boolean; keysym: number; scanCode?: number }
  | { kind: 'pointer'; buttons: number; x: number; y: number }
  | { kind: 'resize' }
  /** Something without a meaning here. */
  | { kind: 'nothing' };

export class ViewerError extends Error {}

const maxEncodings = 1024;
/** Text that was copied is read past; more than this nobody copies. */
const maxCutText = 16 * 2 ** 20;
/** The longest of the others: SetEncodings. */
const maxMessage = 4 + maxEncodings * 4;

/** Length of a message as far as its first bytes tell; undefined: more of it is needed to know. */
function lengthOf(bytes: Buffer): number | undefined {
  switch (bytes[0]) {
    case ClientMessage.setPixelFormat:
      return 4 + pixelFormatBytes;
    case ClientMessage.setEncodings:
      return bytes.length < 4 ? undefined : 4 + bytes.readUInt16BE(2) * 4;
    case ClientMessage.updateRequest:
      return 10;
    case ClientMessage.key:
      return 8;
    case ClientMessage.pointer:
      return 6;
    case ClientMessage.setDesktopSize:
      return bytes.length < 8 ? undefined : 8 + bytes.readUInt8(6) * 16;
    case ClientMessage.qemu:
      if (bytes.length >= 2 && bytes[1] !== QemuMessage.extendedKey)
        throw new ViewerError(`it sent message 255/${String(bytes[1])}, which nobody asked for`);
      return 12;
    default:
      throw new ViewerError(`it sent message ${String(bytes[0])}, which nobody asked for`);
  }
}

function read(bytes: Buffer): Request {
  switch (bytes[0]) {
    case ClientMessage.setPixelFormat: {
      const format = readPixelFormat(bytes.subarray(4));
      if (format === undefined)
        throw new ViewerError('it asked for pixels in a format that is not made here');
      return { kind: 'pixelFormat', format };
    }
    case ClientMessage.setEncodings:
      return {
        kind: 'encodings',
        encodings: Array.from({ length: bytes.readUInt16BE(2) }, (_, n) => bytes.readInt32BE(4 + n * 4)),
      };
    case ClientMessage.updateRequest: {
      const [x, y, width, height] = [2, 4, 6, 8].map((at) => bytes.readUInt16BE(at)) as [
        number,
        number,
        number,
        number,
      ];
      return { kind: 'update', incremental: bytes[1] !== 0, area: { x, y, width, height } };
    }
    case ClientMessage.key:
      return { kind: 'key', pressed: bytes[1] !== 0, keysym: bytes.readUInt32BE(4) };
    case ClientMessage.pointer:
      return {
        kind: 'pointer',
        buttons: bytes.readUInt8(1),
        x: bytes.readUInt16BE(2),
        y: bytes.readUInt16BE(4),
      };
    case ClientMessage.setDesktopSize:
      return { kind: 'resize' };
    default:
      return {
        kind: 'key',
        pressed: bytes.readUInt16BE(2) !== 0,
        keysym: bytes.readUInt32BE(4),
        scanCode: bytes.readUInt32BE(8),
      };
  }
}

export class RequestReader {
  #held = Buffer.alloc(0);
  /** Bytes of copied text that are still to come. */
  #skip = 0;

  /** Requests that are complete now. Throws ViewerError for what no viewer sends. */
  *take(bytes: Uint8Array): Generator<Request> {
    let rest = this.#held.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes]);
    for (;;) {
      const skipped = Math.min(this.#skip, rest.length);
      this.#skip -= skipped;
      rest = rest.subarray(skipped);
      if (rest.length === 0) break;
      if (rest[0] === ClientMessage.cutText) {
        if (rest.length < 8) break;
        this.#skip = 8 + rest.readUInt32BE(4);
        if (this.#skip > maxCutText) throw new ViewerError('it sent more copied text than anybody copies');
        continue;
      }
      const length = lengthOf(rest);
      if (length !== undefined && length > maxMessage)
        throw new ViewerError('it sent a message that is too long');
      if (length === undefined || rest.length < length) break;
      yield read(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
    this.#held = Buffer.from(rest);
  }
}
