/** The VNC server against a client of this test's own: what a viewer sees, and what it does to the guest. */
import { afterEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { differences, type MachineInput, type Picture } from '@revenant/emulator';
import { RfbClient } from '../../test-support/rfb-client.ts';
import { keyOfKeysym, keyOfScanCode } from './keys.ts';
import { Encoding } from './rfb.ts';
import { VncServer } from './server.ts';

function randomSource(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const blank = (width: number, height: number): Picture => ({
  width,
  height,
  rgba: new Uint8Array(width * height * 4),
});

/** Lines of two colours and a coloured block: what a screen is made of. */
function drawn(width: number, height: number, seed: number): Picture {
  const random = randomSource(seed);
  const picture = blank(width, height);
  const words = new Uint32Array(picture.rgba.buffer);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) words[y * width + x] = random() % 3 === 0 ? 0xffaa_aaaa : 0xff00_0000;
  for (let y = 40; y < 90; y++) for (let x = 70; x < 170; x++) words[y * width + x] = random() | 0xff00_0000;
  return picture;
}

function scrolled(before: Picture, by: number): Picture {
  const rgba = before.rgba.slice();
  rgba.copyWithin(0, by * before.width * 4);
  rgba.fill(0x20, (before.height - by) * before.width * 4);
  return { ...before, rgba };
}

const rgb = ({ rgba }: Picture): Buffer => Buffer.from(rgba.filter((_, n) => n % 4 !== 3));
/** As 5-6-5 keeps it. */
const coarse = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.map((byte, n) => (n % 3 === 1 ? byte & 0xfc : byte & 0xf8)));

class Rig {
  readonly vnc: VncServer;
  readonly said: string[];
  picture: Picture;
  readonly clients: RfbClient[] = [];

  private constructor(vnc: VncServer, said: string[], picture: Picture) {
    [this.vnc, this.said, this.picture] = [vnc, said, picture];
  }

  static async open(picture: Picture, password?: string, tablet = false): Promise<Rig> {
    const said: string[] = [];
    const vnc = await VncServer.listen({
      place: { host: '127.0.0.1', port: 0 },
      password: password === undefined ? undefined : Buffer.from(password),
      name: 'test',
      takesTablet: () => tablet,
      look: () => ({ picture, changed: [] }),
      say: (line) => said.push(line),
      wake: () => undefined,
    });
    return new Rig(vnc, said, picture);
  }

  client(): RfbClient {
    const client = new RfbClient(Number(this.vnc.addresses[0]?.split(':').at(-1)));
    this.clients.push(client);
    return client;
  }

  show(next: Picture): void {
    const same = next.width === this.picture.width && next.height === this.picture.height;
    const changed = same
      ? differences(this.picture, next)
      : [{ x: 0, y: 0, width: next.width, height: next.height }];
    this.picture = next;
    this.vnc.show({ picture: next, changed });
  }

  async watched(): Promise<void> {
    while (!this.vnc.isWatched) await new Promise((resolve) => setImmediate(resolve));
  }

  async inputs(count: number): Promise<MachineInput[]> {
    const inputs: MachineInput[] = [];
    while (inputs.length < count) {
      inputs.push(...this.vnc.takeInputs());
      await new Promise((resolve) => setImmediate(resolve));
    }
    return inputs;
  }
}

let rig: Rig | undefined;
afterEach(async () => {
  for (const client of rig?.clients ?? []) client.close();
  await rig?.vnc.close();
  rig = undefined;
});

describe('a viewer sees what the display shows', { timeout: 300_000 }, () => {
  for (const [name, encoding] of [
    ['raw', Encoding.raw],
    ['zlib', Encoding.zlib],
    ['tight', Encoding.tight],
  ] as const)
    for (const small of [false, true])
      test(`${name}, ${small ? '16 bits' : 'full colour'}: whole, in part, scrolled, and after a change of size`, async () => {
        rig = await Rig.open(drawn(720, 400, 1));
        const client = rig.client();
        assert.equal(await client.login(), undefined);
        assert.deepEqual([client.width, client.height, client.name], [720, 400, 'test']);
        if (small) client.smallPixels();
        client.encodings(
          Encoding.copyRect,
          encoding,
          Encoding.cursor,
          Encoding.extendedDesktopSize,
          Encoding.qemuExtendedKey,
        );
        const check = (): void => {
          const wanted = rgb(rig?.picture ?? blank(0, 0));
          assert.ok(client.shown.equals(small ? coarse(wanted) : wanted), 'the pictures differ');
        };
        client.request(false);
        await rig.watched();
        rig.show(rig.picture);
        await client.update();
        check();
        assert.equal(client.seen.get(Encoding.cursor), 1);
        const part = { ...rig.picture, rgba: rig.picture.rgba.slice() };
        part.rgba.fill(0x77, 100_000, 101_000);
        // The next picture follows the one that the viewer has; then two at once, of which it sees the second.
        for (const pictures of [
          [part],
          [scrolled(part, 16)],
          [scrolled(part, 32), drawn(720, 400, 9)],
          [drawn(1030, 770, 3)],
          [scrolled(drawn(1030, 770, 3), 48)],
        ]) {
          client.request(true);
          await rig.watched();
          for (const picture of pictures.slice(0, -1)) rig.show(picture);
          if (pictures.length > 1) {
            await client.update();
            check();
            client.request(true);
            await rig.watched();
          }
          const { width } = client;
          rig.show(pictures.at(-1) ?? part);
          await client.update();
          if (client.width !== width) {
            // Told of a new size, it asks again, for changes only: what it has not seen counts as one.
            client.request(true);
            await rig.watched();
            rig.show(rig.picture);
            await client.update();
          }
          check();
        }
        assert.deepEqual([client.width, client.height], [1030, 770]);
        assert.ok((client.seen.get(Encoding.copyRect) ?? 0) >= 2, 'what scrolled was not copied');
        assert.ok((client.seen.get(encoding) ?? 0) > 0);
      });

  test('a request for changes waits until there is one', async () => {
    rig = await Rig.open(drawn(320, 200, 1));
    const client = rig.client();
    await client.login();
    client.request(false);
    await rig.watched();
    rig.show(rig.picture);
    await client.update();
    client.request(true);
    await rig.watched();
    rig.show(rig.picture);
    assert.equal(rig.vnc.isWatched, true);
    rig.show(drawn(320, 200, 2));
    assert.equal(rig.vnc.isWatched, false);
    await client.update();
  });

  test('a viewer that follows no size keeps its own', async () => {
    rig = await Rig.open(drawn(320, 200, 1));
    const client = rig.client();
    await client.login();
    client.request(false);
    await rig.watched();
    rig.show(drawn(640, 480, 2));
    await client.update();
    const wanted = rgb(rig.picture);
    for (const y of [0, 199])
      assert.ok(
        client.shown.subarray(y * 960, y * 960 + 960).equals(wanted.subarray(y * 1920, y * 1920 + 960)),
      );
  });
});

describe('what a viewer does reaches the guest', { timeout: 300_000 }, () => {
  test('keys by scan code and by character, the mouse by its ways, and nothing stays pressed', async () => {
    rig = await Rig.open(blank(320, 200));
    const client = rig.client();
    await client.login();
    client.send(255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x9d); // E0 1D, whatever its character
    client.send(4, 1, 0, 0, 0, 0, 0, 0x41); // A, without Shift
    client.send(5, 0, 0, 100, 0, 100, 5, 1, 0, 110, 0, 90, 5, 8, 0, 110, 0, 90);
    const key = (code: string, pressed: boolean): MachineInput => ({ kind: 'key', code, pressed });
    assert.deepEqual(await rig.inputs(6), [
      key('ControlRight', true),
      key('ShiftLeft', true),
      key('KeyA', true),
      key('ShiftLeft', false),
      { kind: 'mouse', dx: 10, dy: 10, dz: 0, buttons: 1 },
      { kind: 'mouse', dx: 0, dy: 0, dz: -1, buttons: 0 },
    ]);
    client.close();
    assert.deepEqual(await rig.inputs(3), [
      key('ControlRight', false),
      key('KeyA', false),
      { kind: 'mouse', dx: 0, dy: 0, dz: 0, buttons: 0 },
    ]);
  });

  test('the pointer by its places, where the guest takes those, and no button stays pressed', async () => {
    rig = await Rig.open(blank(320, 200), undefined, true);
    const client = rig.client();
    await client.login();
    // The right edge, the lower one, beyond both, and the wheel.
    client.send(5, 1, 1, 63, 0, 0, 5, 2, 0, 0, 0, 199, 5, 0, 255, 255, 255, 255, 5, 16, 0, 0, 0, 0);
    client.send(5, 4, 0, 160, 0, 100);
    const places = await rig.inputs(5);
    client.close();
    assert.deepEqual(
      [...places, ...(await rig.inputs(1))],
      [
        { kind: 'tablet', x: 32767, y: 0, dz: 0, buttons: 1 },
        { kind: 'tablet', x: 0, y: 32767, dz: 0, buttons: 4 },
        { kind: 'tablet', x: 32767, y: 32767, dz: 0, buttons: 0 },
        { kind: 'tablet', x: 0, y: 0, dz: 1, buttons: 0 },
        { kind: 'tablet', x: 16435, y: 16466, dz: 0, buttons: 2 },
        { kind: 'tablet', x: 16435, y: 16466, dz: 0, buttons: 0 },
      ],
    );
  });

  test('every printable character has its key', () => {
    for (let keysym = 0x20; keysym < 0x7f; keysym++)
      assert.ok(keyOfKeysym(keysym), String.fromCharCode(keysym));
    assert.deepEqual(
      [
        keyOfScanCode(1),
        keyOfScanCode(0x58),
        keyOfScanCode(0x39),
        keyOfScanCode(0xc8),
        keyOfScanCode(0x54),
        keyOfScanCode(0),
      ],
      ['Escape', 'F12', 'Space', 'ArrowUp', undefined, undefined],
    );
  });
});

describe('who may come in', { timeout: 300_000 }, () => {
  test('who has the password, and who has not is told', async () => {
    rig = await Rig.open(blank(320, 200), 'secret');
    assert.equal(await rig.client().login('secret'), undefined);
    assert.equal(await rig.client().login('Secret'), 'the password is wrong');
    assert.equal(await rig.client().login('secret'), undefined);
    assert.match(rig.said.join(), /refused: the password is wrong/);
  });

  test('strangers are few, and none sends more than a viewer would', async () => {
    rig = await Rig.open(blank(320, 200), 'secret');
    const strangers = Array.from({ length: 8 }, () => rig?.client());
    for (const stranger of strangers) await stranger?.take(12);
    await assert.rejects(rig.client().take(12));
    const [loud] = strangers;
    loud?.socket.write(Buffer.alloc(5000));
    await assert.rejects(loud?.take(1) ?? Promise.resolve());
    await rig.client().take(12);
  });

  test('an older viewer of version 3.3 gets in, one that speaks something else does not', async () => {
    rig = await Rig.open(blank(320, 200));
    const old = rig.client();
    await old.take(12);
    old.socket.write('RFB 003.003\n');
    assert.deepEqual([...(await old.take(4))], [0, 0, 0, 1]);
    const other = rig.client();
    await other.take(12);
    other.socket.write('GET / HTTP/1');
    await assert.rejects(other.take(1));
  });

  test('10,000 random messages end connections, and nothing else', async () => {
    rig = await Rig.open(blank(64, 64));
    const random = randomSource(77);
    for (let n = 0; n < 100; n++) {
      const client = rig.client();
      await client.login();
      for (let message = 0; message < 100; message++) {
        const bytes = Buffer.from(Array.from({ length: random() % 40 }, () => random() & 0xff));
        if (bytes.length > 0) bytes[0] = random() % 8;
        if (client.socket.writable) client.socket.write(bytes);
      }
      rig.vnc.show({ picture: rig.picture, changed: [] });
      rig.vnc.takeInputs();
      client.socket.end();
      if (!client.socket.closed) await once(client.socket, 'close');
    }
    assert.equal(await rig.client().login(), undefined);
  });
});
