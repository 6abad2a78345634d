/** A viewer for tests: RFC 6143 and rfbproto read from the other side, decoded with zlib's own inflate. It keeps what it would show. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { constants, createInflate, type Inflate } from 'node:zlib';
import { answerTo } from '../src/vnc/handshake.ts';

export class RfbClient {
  readonly socket: Socket;
  #held = Buffer.alloc(0);
  #over = false;
  #arrived: () => void = () => undefined;
  readonly #streams = new Map<string, Inflate>();
  width = 0;
  height = 0;
  name = '';
  /** What is shown: red, green, blue a pixel. */
  shown = Buffer.alloc(0);
  /** How often each encoding came. */
  readonly seen = new Map<number, number>();
  /** Of the pixel format that was asked for: 4, or 2 for 5-6-5. */
  #pixelBytes = 4;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (bytes) => {
      this.#held = Buffer.concat([this.#held, bytes]);
      this.#arrived();
    });
    for (const event of ['close', 'error'])
      this.socket.on(event, () => {
        this.#over = true;
        this.#arrived();
      });
  }

  /** The next bytes; rejects when the server ends the connection before. */
  async take(count: number): Promise<Buffer> {
    while (this.#held.length < count) {
      if (this.#over) throw new Error('the server ended the connection');
      await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
    const bytes = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return bytes;
  }

  send(...bytes: number[]): void {
    this.socket.write(Uint8Array.from(bytes));
  }

  /** Logs in with version 3.8; resolves with the reason when it is refused. */
  async login(password?: string): Promise<string | undefined> {
    assert.equal((await this.take(12)).toString(), 'RFB 003.008\n');
    this.socket.write('RFB 003.008\n');
    const [count = 0] = await this.take(1);
    const types = await this.take(count);
    this.send(types[0] ?? 0);
    if (types[0] === 2) this.socket.write(answerTo(await this.take(16), Buffer.from(password ?? '')));
    if ((await this.take(4)).readUInt32BE() !== 0)
      return (await this.take((await this.take(4)).readUInt32BE())).toString();
    this.send(1);
    const init = await this.take(24);
    this.#resize(init.readUInt16BE(0), init.readUInt16BE(2));
    this.name = (await this.take(init.readUInt32BE(20))).toString();
    return undefined;
  }

  #resize(width: number, height: number): void {
    [this.width, this.height] = [width, height];
    this.shown = Buffer.alloc(width * height * 3);
  }

  encodings(...encodings: number[]): void {
    const bytes = Buffer.alloc(4 + encodings.length * 4);
    bytes[0] = 2;
    bytes.writeUInt16BE(encodings.length, 2);
    encodings.forEach((one, n) => bytes.writeInt32BE(one, 4 + n * 4));
    this.socket.write(bytes);
  }

  /** 16 bits a pixel, 5-6-5, big-endian. */
  smallPixels(): void {
    this.#pixelBytes = 2;
    this.send(0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0);
  }

  request(incremental: boolean): void {
    this.send(
      3,
      incremental ? 1 : 0,
      0,
      0,
      0,
      0,
      this.width >> 8,
      this.width & 255,
      this.height >> 8,
      this.height & 255,
    );
  }

  /** One answer, taken into what is shown. */
  async update(): Promise<void> {
    const header = await this.take(4);
    assert.equal(header[0], 0);
    for (let n = header.readUInt16BE(2); n > 0; n--) await this.#rectangle();
  }

  async #rectangle(): Promise<void> {
    const head = await this.take(12);
    const [x = 0, y = 0, width = 0, height = 0] = [0, 2, 4, 6].map((at) => head.readUInt16BE(at));
    const encoding = head.readInt32BE(8);
    this.seen.set(encoding, (this.seen.get(encoding) ?? 0) + 1);
    const put = (pixels: Buffer, size: number): void => this.#put({ x, y, width }, pixels, size);
    const pixels = width * height * this.#pixelBytes;
    if (encoding === 0) put(await this.take(pixels), this.#pixelBytes);
    else if (encoding === 1) await this.#copy({ x, y, width, height });
    else if (encoding === 6)
      put(await this.#inflate('zlib', (await this.take(4)).readUInt32BE(), pixels), this.#pixelBytes);
    else if (encoding === 7) await this.#tight({ width, height }, put);
    else if (encoding === -223) this.#resize(width, height);
    else if (encoding === -308) {
      await this.take(20);
      if (width !== this.width || height !== this.height) this.#resize(width, height);
    } else if (encoding === -239) await this.take(pixels + Math.ceil(width / 8) * height);
    else assert.equal(encoding, -258);
  }

  async #copy(to: { x: number; y: number; width: number; height: number }): Promise<void> {
    const from = await this.take(4);
    const before = Buffer.from(this.shown);
    for (let row = 0; row < to.height; row++) {
      const at = ((from.readUInt16BE(2) + row) * this.width + from.readUInt16BE(0)) * 3;
      before.copy(this.shown, ((to.y + row) * this.width + to.x) * 3, at, at + to.width * 3);
    }
  }

  async #tight(
    size: { width: number; height: number },
    put: (pixels: Buffer, size: number) => void,
  ): Promise<void> {
    const { width, height } = size;
    const pixel = this.#pixelBytes === 4 ? 3 : this.#pixelBytes;
    const [control = 0] = await this.take(1);
    if (control === 0x80) {
      const one = await this.take(pixel);
      put(Buffer.concat(Array.from({ length: width * height }, () => one)), pixel);
      return;
    }
    assert.ok(control < 0x80 && (control & 15) === 0);
    const stream = `tight${String((control >> 4) & 3)}`;
    if ((control & 0x40) === 0) {
      put(await this.#tightBytes(stream, width * height * pixel), pixel);
      return;
    }
    assert.equal((await this.take(1))[0], 1);
    const count = ((await this.take(1))[0] ?? 0) + 1;
    const palette = await this.take(count * pixel);
    const pitch = count === 2 ? Math.ceil(width / 8) : width;
    const indexes = await this.#tightBytes(stream, pitch * height);
    const colour = (x: number, y: number): number =>
      count === 2
        ? ((indexes[y * pitch + (x >> 3)] ?? 0) >> (7 - (x & 7))) & 1
        : (indexes[y * pitch + x] ?? 0);
    put(
      Buffer.concat(
        Array.from({ length: width * height }, (_, n) => {
          const index = colour(n % width, Math.floor(n / width));
          return palette.subarray(index * pixel, (index + 1) * pixel);
        }),
      ),
      pixel,
    );
  }

  async #tightBytes(stream: string, count: number): Promise<Buffer> {
    if (count < 12) return this.take(count);
    let length = 0;
    for (let shift = 0; shift < 21; shift += 7) {
      const [byte = 0] = await this.take(1);
      length |= (shift === 14 ? byte : byte & 0x7f) << shift;
      if (shift < 14 && (byte & 0x80) === 0) break;
    }
    return this.#inflate(stream, length, count);
  }

  /** One stream for the whole connection, as viewers have it. */
  async #inflate(stream: string, length: number, count: number): Promise<Buffer> {
    const inflate = this.#streams.get(stream) ?? createInflate({ finishFlush: constants.Z_SYNC_FLUSH });
    this.#streams.set(stream, inflate);
    const packed = await this.take(length);
    const parts: Buffer[] = [];
    const whole = new Promise<void>((resolve, reject) => {
      inflate.removeAllListeners('data').removeAllListeners('error').on('error', reject);
      inflate.on('data', (part: Buffer) => {
        parts.push(part);
        if (parts.reduce((sum, one) => sum + one.length, 0) >= count) resolve();
      });
    });
    inflate.write(packed);
    await whole;
    const bytes = Buffer.concat(parts);
    assert.equal(bytes.length, count);
    return bytes;
  }

  #put({ x, y, width }: { x: number; y: number; width: number }, pixels: Buffer, size: number): void {
    for (let n = 0; n < pixels.length / size; n++) {
      const at = ((y + Math.floor(n / width)) * this.width + x + (n % width)) * 3;
      if (size === 2) {
        const value = pixels.readUInt16BE(n * 2);
        this.shown.set([(value >> 11) << 3, ((value >> 5) & 63) << 2, (value & 31) << 3], at);
      } else pixels.copy(this.shown, at, n * size, n * size + 3);
    }
  }

  close(): void {
    this.socket.destroy();
  }
}
