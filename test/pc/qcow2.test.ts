/**
 * qcow2 against Debian's qemu-img and qemu-io: images that they make, in every combination of options, read right here; images that were written
 * here pass `qemu-img check` and read right there; damaged ones are refused or read, within bounds. REVENANT_IMAGES=10000 damages that many.
 * Without qemu-img (package qemu-utils) the tests are skipped, and say so.
 */
import { after, before, describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { DiskFormatError, Qcow2Image, type ImageFile } from '@revenant/emulator';
import { decompressors, MediumFile } from '../../packages/cli/src/run/media-file.ts';
import { CliError } from '../../packages/cli/src/errors.ts';
import { zstdFrameLength } from '../../packages/emulator/src/disk-formats/zstd-frame.ts';

const diskBytes = 3 * 2 ** 20 + 512;
const hasQemu =
  spawnSync('qemu-img', ['--version']).status === 0 && spawnSync('qemu-io', ['--version']).status === 0;
let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'revenant-qcow2-'));
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

function skip(context: TestContext): boolean {
  if (!hasQemu) context.skip('there is no qemu-img here (Debian: qemu-utils)');
  return !hasQemu;
}

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', cwd: folder });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

/** A seeded generator (xorshift). */
function randomSource(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Contents with empty parts, parts that pack well and parts that don't. */
function content(seed: number): Uint8Array {
  const random = randomSource(seed);
  const bytes = new Uint8Array(diskBytes);
  for (let at = 0; at < diskBytes; at += 16384) {
    const kind = random() % 3;
    const part = bytes.subarray(at, Math.min(diskBytes, at + 16384));
    if (kind === 1) part.fill(random() & 0xff);
    if (kind === 2) for (let n = 0; n < part.length; n++) part[n] = random() & 0xff;
  }
  return bytes;
}

/** A file in memory. */
class MemoryFile implements ImageFile {
  #room: Uint8Array;
  bytes: number;
  constructor(bytes: Uint8Array) {
    this.#room = Uint8Array.from(bytes);
    this.bytes = bytes.length;
  }
  get content(): Uint8Array {
    return this.#room.subarray(0, this.bytes);
  }
  read(offset: number, into: Uint8Array): void {
    into.fill(0);
    into.set(this.#room.subarray(Math.min(offset, this.bytes), Math.min(offset + into.length, this.bytes)));
  }
  write(offset: number, data: Uint8Array): void {
    const end = offset + data.length;
    assert.ok(end < 128 * 2 ** 20, 'the image grows without end');
    if (end > this.#room.length) {
      const longer = new Uint8Array(end * 2);
      longer.set(this.content);
      this.#room = longer;
    }
    this.bytes = Math.max(this.bytes, end);
    this.#room.set(data, offset);
  }
}

function whole(image: { bytes: number; read(offset: number, into: Uint8Array): void }): Uint8Array {
  const out = new Uint8Array(image.bytes);
  image.read(0, out);
  return out;
}
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Options of `qemu-img create` and `convert`, each with whether clusters are compressed. */
const combinations = ['compat=0.10', 'compat=1.1'].flatMap((compat) =>
  ['cluster_size=512', 'cluster_size=4k', 'cluster_size=64k', 'cluster_size=2M'].flatMap((size) => {
    const more =
      compat === 'compat=0.10'
        ? ['']
        : [
            '',
            'refcount_bits=1',
            'refcount_bits=64',
            'lazy_refcounts=on',
            'extended_l2=on',
            'compression_type=zstd',
            'extended_l2=on,compression_type=zstd',
          ];
    return more
      .filter((one) => !(one.includes('extended_l2') && (size.endsWith('512') || size.endsWith('4k'))))
      .flatMap((one) =>
        [false, true].map((compressed) => ({
          options: [compat, size, one].filter((text) => text !== '').join(','),
          compressed,
        })),
      );
  }),
);

describe('with qemu-img', { timeout: 600_000 }, () => {
  test('its images read right in every combination of options', (context) => {
    if (skip(context)) return;
    const expected = content(1);
    const raw = join(folder, 'source.raw');
    writeFileSync(raw, expected);
    for (const { options, compressed } of combinations) {
      run(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        'qcow2',
        ...(compressed ? ['-c'] : []),
        '-o',
        options,
        raw,
        'made.qcow2',
      );
      const image = new Qcow2Image({
        file: new MemoryFile(readFileSync(join(folder, 'made.qcow2'))),
        decompressors,
      });
      assert.equal(image.bytes, diskBytes, options);
      assert.equal(sha256(whole(image)), sha256(expected), `${options} ${compressed ? 'compressed' : ''}`);
    }
  });

  test('what is written here passes its check, and reads right there', (context) => {
    if (skip(context)) return;
    const raw = join(folder, 'source.raw');
    for (const { options, compressed } of combinations) {
      const expected = content(2);
      writeFileSync(raw, expected);
      run(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        'qcow2',
        ...(compressed ? ['-c'] : []),
        '-o',
        options,
        raw,
        'written.qcow2',
      );
      const path = join(folder, 'written.qcow2');
      const file = new MemoryFile(readFileSync(path));
      const image = new Qcow2Image({ file, decompressors });
      const random = randomSource(77);
      for (let n = 0; n < 60; n++) {
        const length = 512 * (1 + (random() % (n % 10 === 0 ? 400 : 16)));
        const offset = 512 * (random() % ((diskBytes - length) / 512));
        const data = Uint8Array.from({ length }, () => random());
        expected.set(data, offset);
        image.write(offset, data);
      }
      assert.equal(sha256(whole(image)), sha256(expected), `${options}: here`);
      writeFileSync(path, file.content);
      run('qemu-img', 'check', '-f', 'qcow2', path);
      run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, 'back.raw');
      assert.equal(sha256(readFileSync(join(folder, 'back.raw'))), sha256(expected), `${options}: there`);
    }
  });

  test('an image that is empty grows to what was written, with its refcount table', (context) => {
    if (skip(context)) return;
    run('qemu-img', 'create', '-f', 'qcow2', '-o', 'cluster_size=512', 'grow.qcow2', '12M');
    const path = join(folder, 'grow.qcow2');
    const file = new MemoryFile(readFileSync(path));
    const image = new Qcow2Image({ file, decompressors });
    const piece = new Uint8Array(65536).fill(0x5a);
    for (let at = 0; at < 12 * 2 ** 20; at += piece.length) image.write(at, piece);
    writeFileSync(path, file.content);
    run('qemu-img', 'check', '-f', 'qcow2', path);
    assert.ok(new Qcow2Image({ file, decompressors }).header.refcountTableClusters > 1);
  });

  test('snapshots are listed, and stay as they are when the disk is written', (context) => {
    if (skip(context)) return;
    const path = join(folder, 'snapshots.qcow2');
    run('qemu-img', 'create', '-f', 'qcow2', path, '2M');
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 0x11 0 256k', path);
    run('qemu-img', 'snapshot', '-c', 'before', path);
    const file = new MemoryFile(readFileSync(path));
    const image = new Qcow2Image({ file, decompressors });
    const [snapshot] = image.snapshots();
    assert.deepEqual(
      [snapshot?.id, snapshot?.name, snapshot?.stateBytes, snapshot?.diskBytes],
      ['1', 'before', 0, 2 ** 21],
    );
    image.write(4096, new Uint8Array(4096).fill(0x22));
    image.write(128 * 1024, new Uint8Array(1024).fill(0x33));
    writeFileSync(path, file.content);
    run('qemu-img', 'check', '-f', 'qcow2', path);
    run('qemu-io', '-f', 'qcow2', '-c', 'read -P 0x22 4096 4096', '-c', 'read -P 0x11 0 4096', path);
    run('qemu-img', 'snapshot', '-a', 'before', path);
    assert.match(run('qemu-io', '-f', 'qcow2', '-c', 'read -P 0x11 0 256k', path), /read 262144/);
  });

  test('zero clusters that keep a place in the file are zero; a dirty image is read and not written', (context) => {
    if (skip(context)) return;
    const path = join(folder, 'zero.qcow2');
    run('qemu-img', 'create', '-f', 'qcow2', '-o', 'lazy_refcounts=on', path, '1M');
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 0x44 0 1M', '-c', 'write -z 64k 64k', path);
    const bytes = readFileSync(path);
    const zero = new Uint8Array(65536);
    const read = (file: MemoryFile, offset: number): Uint8Array => {
      const out = new Uint8Array(65536);
      new Qcow2Image({ file: { bytes: file.bytes, read: file.read.bind(file) }, decompressors }).read(
        offset,
        out,
      );
      return out;
    };
    assert.deepEqual(read(new MemoryFile(bytes), 65536), zero);
    const dirty = Uint8Array.from(bytes);
    dirty[79] = (dirty[79] ?? 0) | 1;
    assert.equal(read(new MemoryFile(dirty), 0)[0], 0x44);
    assert.throws(() => new Qcow2Image({ file: new MemoryFile(dirty), decompressors }), /not closed/);
    dirty[79] = 2;
    assert.equal(read(new MemoryFile(dirty), 0)[0], 0x44);
    assert.throws(() => new Qcow2Image({ file: new MemoryFile(dirty), decompressors }), /corrupt/);
    const image = new Qcow2Image({ file: new MemoryFile(bytes), decompressors });
    image.write(65536 + 512, new Uint8Array(512).fill(1));
    assert.deepEqual(
      whole(image).slice(65536, 65536 + 1536),
      Uint8Array.from({ length: 1536 }, (_, n) => (n >= 512 && n < 1024 ? 1 : 0)),
    );
  });

  test('an image on another is read with leave only, and only inside of its folder', (context) => {
    if (skip(context)) return;
    writeFileSync(join(folder, 'base.raw'), content(3));
    run('qemu-img', 'create', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', 'top.qcow2');
    const path = join(folder, 'top.qcow2');
    assert.throws(() => new MediumFile({ path, mode: 'cow' }), /lies on another one/);
    const medium = new MediumFile({ path, mode: 'cow', backingFiles: true });
    assert.deepEqual(medium.backing().readPage(5), content(3).slice(5 * 4096, 6 * 4096));
    medium.close();
    run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', '../base.raw', '-F', 'raw', path);
    assert.throws(
      () => new MediumFile({ path, mode: 'cow', backingFiles: true }),
      (error) => error instanceof CliError && /outside of its folder/.test(error.message),
    );
  });

  test('other formats are recognised, with the line that converts them', (context) => {
    if (skip(context)) return;
    for (const [format, name] of [
      ['vmdk', 'vmdk'],
      ['vpc', 'vhd'],
      ['vhdx', 'vhdx'],
      ['vdi', 'vdi'],
      ['qed', 'qed'],
      ['parallels', 'parallels'],
      ['qcow', 'qcow1'],
    ] as const) {
      const path = join(folder, `disk.${format}`);
      run('qemu-img', 'create', '-f', format, path, '4M');
      assert.throws(
        () => new MediumFile({ path, mode: 'cow' }),
        (error) =>
          error instanceof CliError &&
          error.message.includes(`is a ${name.toUpperCase()} image`) &&
          (error.hint ?? '').includes(`qemu-img convert -f ${format} -O qcow2`),
        format,
      );
    }
  });

  test('damaged images are refused or read, within bounds', (context) => {
    if (skip(context)) return;
    writeFileSync(join(folder, 'source.raw'), content(4));
    const sources = [
      'compat=0.10',
      'compat=1.1',
      'compression_type=zstd',
      'extended_l2=on',
      'cluster_size=512',
    ].map((options) => {
      run(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        'qcow2',
        ...(options.includes('zstd') || options.includes('0.10') ? ['-c'] : []),
        '-o',
        options,
        'source.raw',
        'damaged.qcow2',
      );
      run('qemu-img', 'snapshot', '-c', 's', 'damaged.qcow2');
      return readFileSync(join(folder, 'damaged.qcow2'));
    });
    const wanted = Number(process.env['REVENANT_IMAGES'] ?? 250);
    let refused = 0;
    for (let seed = 1; seed <= wanted; seed++)
      refused += damageOne(sources[seed % sources.length] ?? new Uint8Array(0), seed);
    context.diagnostic(`${String(wanted)} damaged images, ${String(refused)} refused`);
    assert.ok(refused > wanted / 20 && refused < wanted);
  });
});

/** 1 when a damaged image was refused at some point. */
function damageOne(source: Uint8Array, seed: number): number {
  const random = randomSource(seed * 2654435761);
  let bytes = Uint8Array.from(source);
  const header = random() % 3 > 0;
  const limit = header ? 112 : bytes.length;
  for (let n = 0; n < 1 + (random() % 8); n++) {
    const at = random() % limit;
    bytes[at] = random() % 2 ? random() & 0xff : (bytes[at] ?? 0) ^ (1 << (random() % 8));
  }
  if (random() % 8 === 0) bytes = bytes.slice(0, random() % bytes.length);
  const file = new MemoryFile(bytes);
  const began = process.cpuUsage().user;
  try {
    const image = new Qcow2Image({
      file,
      decompressors,
      backing: () => ({ bytes: 0, read: () => undefined }),
    });
    image.snapshots();
    const piece = new Uint8Array(65536);
    for (let at = 0; at < Math.min(image.bytes, 4 * 2 ** 20); at += piece.length) image.read(at, piece);
    for (let n = 0; n < 8; n++)
      image.write(
        (random() % Math.max(1, Math.min(image.bytes, 2 ** 22) / 512)) * 512,
        new Uint8Array(512).fill(n),
      );
    return 0;
  } catch (error) {
    assert.ok(
      error instanceof DiskFormatError,
      `seed ${String(seed)}: ${String(error)} ${(error as Error).stack ?? ''}`,
    );
    return 1;
  } finally {
    assert.ok(process.cpuUsage().user - began < 10_000_000, `seed ${String(seed)} takes too long`);
  }
}

test('the end of a Zstandard frame is found, whatever follows it', () => {
  const random = randomSource(5);
  for (const size of [0, 1, 100, 4096, 300_000]) {
    const data = Uint8Array.from({ length: size }, (_, n) => (n % 7 === 0 ? random() : 3));
    const frame = zstdCompressSync(data);
    const longer = new Uint8Array(frame.length + 777).fill(0x28);
    longer.set(frame);
    assert.equal(zstdFrameLength(longer), frame.length);
    assert.equal(zstdFrameLength(frame.subarray(0, frame.length - 1)), undefined);
  }
});

test('a copy cut in its middle is refused where it is read', (context) => {
  if (skip(context)) return;
  writeFileSync(join(folder, 'source.raw'), content(6));
  run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', 'source.raw', 'cut.qcow2');
  copyFileSync(join(folder, 'cut.qcow2'), join(folder, 'cut2.qcow2'));
  truncateSync(join(folder, 'cut2.qcow2'), 1_500_000);
  const medium = new MediumFile({ path: join(folder, 'cut2.qcow2'), mode: 'cow' });
  const { readPage } = medium.backing();
  assert.throws(() => {
    for (let page = 0; page < diskBytes / 4096; page++) readPage(page);
  }, /lies outside of the file/);
  medium.close();
});
