/**
 * A VM of a cluster that Debian's SeaBIOS starts from a floppy disk: its screen in a graphics mode, keys, a change of the disk, and what it wrote to
 * its disk as qcow2 and raw, all from the command line, through a kill -9 of its node.
 */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterClient, NodeProcess } from '@revenant/cluster';
import { Qcow2Image } from '@revenant/emulator';
import { RfbClient } from '../../packages/cli/test-support/rfb-client.ts';
import { VncBridge } from '../../packages/cli/src/vnc/bridge.ts';
import { decompressors } from '../../packages/cli/src/run/media-file.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { firmwareOrSkip } from './pc.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-cluster-vm-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const store = `file:${folder}/store`;
const program = join(import.meta.dirname, '../../packages/cli/src/main.ts');

/**
 * Mode 13h; then, for each key: `r` reads the second sector of the floppy disk and shows its first letter, `w` writes that sector to the hard disk's third;
 * any other is shown as it is. Shown: on COM1 and on the screen.
 */
const code = Uint8Array.of(
  0x31,
  0xc0,
  0x8e,
  0xd8,
  0x8e,
  0xc0, // ds = es = 0
  0xb8,
  0x13,
  0x00,
  0xcd,
  0x10, // mode 13h
  0xb4,
  0x00,
  0xcd,
  0x16, // 0b: a key
  0x3c,
  0x77,
  0x75,
  0x10, // w?
  0xb8,
  0x01,
  0x03,
  0xbb,
  0x00,
  0x05,
  0xb9,
  0x03,
  0x00,
  0xba,
  0x80,
  0x00,
  0xcd,
  0x13,
  0xeb,
  0xe8, // write
  0x3c,
  0x72,
  0x75,
  0x13, // 23: r?
  0xb8,
  0x01,
  0x02,
  0xbb,
  0x00,
  0x05,
  0xb9,
  0x02,
  0x00,
  0xba,
  0x00,
  0x00,
  0xcd,
  0x13,
  0x72,
  0xf0, // 27: read, again when the disk is new
  0xa0,
  0x00,
  0x05, // 37: its first letter
  0xba,
  0xf8,
  0x03,
  0xee, // 3a: COM1
  0xb4,
  0x0e,
  0xbb,
  0x0c,
  0x00,
  0xcd,
  0x10, // the screen, light red
  0xeb,
  0xc4, // to 0b
);

function floppy(letter: string): Uint8Array {
  const disk = new Uint8Array(1440 * 1024);
  disk.set(code);
  disk.set([0x55, 0xaa], 510);
  disk.fill(letter.charCodeAt(0), 512, 1024);
  return disk;
}

function revenant(...words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...words, '--store', store], (error, out, stderr) => {
      if (error === null) resolve(out);
      else reject(new Error(`${words.join(' ')}: ${stderr}`));
    });
  });
}

/** Presses keys at a VNC viewer (RFC 6143, 7.5.4). */
function type(viewer: RfbClient, text: string): void {
  for (const letter of text)
    for (const pressed of [1, 0]) viewer.send(4, pressed, 0, 0, 0, 0, 0, letter.charCodeAt(0));
}

/** Width and height of a PNG (RFC 2083, IHDR). */
function pngSize(path: string): [number, number] {
  const bytes = readFileSync(path);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

test('a VM boots by firmware, shows graphics, takes keys once and changes media, and its disk is exported', async (context) => {
  if ((await firmwareOrSkip(context)) === undefined) return;
  const [a, b] = ['a.img', 'b.img'].map((name) => join(folder, name)) as [string, string];
  writeFileSync(a, floppy('A'));
  writeFileSync(b, floppy('B'));
  const nodes = new Map<string, NodeProcess>();
  const start = (name: string): Promise<NodeProcess> =>
    NodeProcess.start({ store, name, profile: 'default', logFile: join(folder, `${name}.log`) });
  for (const name of ['a', 'b']) nodes.set(name, await start(name));
  const client = new ClusterClient({ nodes: [...nodes.values()].map(({ address }) => address) });
  let heard = '';
  const console = client.console('old', (bytes) => (heard += Buffer.from(bytes).toString('latin1')));
  let bridge: VncBridge | undefined;
  let viewer: RfbClient | undefined;
  try {
    const made = [
      'vm',
      'create',
      'old',
      a,
      '--floppy',
      b,
      '--disk-size',
      '3M',
      '--memory',
      '32M',
      '--output',
      'log',
    ];
    await revenant(...made);
    let address = '';
    bridge = await VncBridge.open(client, 'old', { place: { host: '127.0.0.1', port: 0 } }, (line) => {
      address = /^VNC at (.*)$/.exec(line)?.[1] ?? address;
    });
    viewer = new RfbClient(Number(address.split(':')[1]));
    assert.equal(await viewer.login(), undefined);
    const width = async (): Promise<number | undefined> =>
      (await client.picture('old').catch(() => undefined))?.width;
    await until('mode 13h', async () => (await width()) === 320);
    await revenant('vm', 'screenshot', 'old', '--png', join(folder, 'screen.png'));
    assert.deepEqual(pngSize(join(folder, 'screen.png')), [320, 200]);

    await revenant('vm', 'send-key', 'old', 'KeyH', 'KeyR');
    await until('the first disk', () => heard.includes('hA'));
    await revenant('vm', 'insert', 'old', 'floppy', 'b.img');
    // What a viewer types goes the same way, and each key is heard once, though its node dies.
    type(viewer, '1234r');
    const { assignment } = await client.vm('old');
    nodes.get(assignment!.node)!.kill();
    type(viewer, '56w7');
    await until('all keys', () => heard.includes('7'));
    assert.equal(heard.replaceAll('\0', ''), 'hA1234B567');
    await until('all is in a checkpoint', () => console.unacknowledged === 0);
    await revenant('vm', 'eject', 'old', 'floppy');
    await revenant('vm', 'stop', 'old');

    assert.match(await revenant('vm', 'disk', 'list', 'old'), /^disk2 virtio 3\.0 MiB$/m);
  } finally {
    viewer?.socket.destroy();
    await bridge?.close();
    console.close();
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
  }
  for (const format of ['qcow2', 'raw']) {
    const file = join(folder, `disk.${format}`);
    await revenant('vm', 'disk', 'export', 'old', 'disk2', file, '--format', format);
    const bytes = readFileSync(file);
    const disk = new Uint8Array(3 << 20);
    if (format === 'raw') disk.set(bytes);
    else {
      const read = (offset: number, into: Uint8Array): void =>
        into.set(bytes.subarray(offset, offset + into.length));
      new Qcow2Image({ file: { bytes: bytes.length, read }, decompressors }).read(0, disk);
      const check = spawnSync('qemu-img', ['check', file], { encoding: 'utf8' });
      if (check.error === undefined) assert.equal(check.status, 0, check.stdout + check.stderr);
    }
    const expected = new Uint8Array(3 << 20);
    expected.fill('B'.charCodeAt(0), 1024, 1536);
    assert.ok(Buffer.from(disk).equals(expected), format);
  }
});
