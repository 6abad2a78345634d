/** Container images: what layers make of a root, what is refused, and one that boots. The last needs the image linux-cloud in the cache. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { CliError } from '../../errors.ts';
import { fetchImage, findImage, readImageFile } from '../image.ts';
import { readContainerImage } from './archive.ts';
import { makeContainerGuest } from './guest.ts';
import { ContainerRoot } from './root.ts';
import { readTar } from './tar.ts';
import { findUser } from './user.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface Entry {
  path: string;
  type?: string;
  data?: Uint8Array | string;
  mode?: number;
  owner?: [number, number];
  target?: string;
}

function tar(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap(
    ({ path, type = '0', data = '', mode = 0o755, owner = [0, 0], target = '' }) => {
      const bytes = Buffer.from(data as string);
      const head = Buffer.alloc(512);
      const octal = (value: number, at: number, length: number): void =>
        void head.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
      head.write(path, 0);
      octal(mode, 100, 8);
      octal(owner[0], 108, 8);
      octal(owner[1], 116, 8);
      octal(bytes.length, 124, 12);
      head.write('        ', 148);
      head.write(type, 156);
      head.write(target, 157);
      head.write('ustar\x0000', 257, 'latin1');
      octal(
        head.reduce((sum, byte) => sum + byte, 0),
        148,
        7,
      );
      return [head, bytes, Buffer.alloc(-bytes.length & 511)];
    },
  );
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

const config = (layers: readonly Uint8Array[], more: object, architecture = 'amd64'): Buffer =>
  Buffer.from(
    JSON.stringify({
      ...{ architecture, os: 'linux', config: more },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
    }),
  );

const start = {
  Entrypoint: ['start'],
  Cmd: ['one', "it's two"],
  Env: ['PATH=/bin:/app', 'GREETING=hello there'],
  WorkingDir: '/work',
};
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-container-'));
});
after(() => rm(folder, { recursive: true, force: true }));

let count = 0;
async function saved(
  layers: readonly Uint8Array[],
  more: object = start,
  packed = layers,
  made = config(layers, more),
): Promise<string> {
  const list = [
    {
      Config: 'config.json',
      RepoTags: ['example.test:5000/team/greeter:1.2'],
      Layers: packed.map((_, n) => `${String(n)}/layer.tar`),
    },
  ];
  const file = join(folder, `image-${String(++count)}.tar`);
  const files = packed.map((data, n) => ({ path: `${String(n)}/layer.tar`, data }));
  await writeFile(
    file,
    tar([
      { path: 'manifest.json', data: JSON.stringify(list) },
      { path: 'config.json', data: made },
      ...files,
    ]),
  );
  return file;
}

async function layout(
  layers: readonly Uint8Array[],
  packed: readonly Uint8Array[],
  more: object = start,
): Promise<string> {
  const root = join(folder, `layout-${String(++count)}`);
  await mkdir(join(root, 'blobs/sha256'), { recursive: true });
  const put = async (bytes: Uint8Array, mediaType: string): Promise<object> => {
    await writeFile(join(root, 'blobs/sha256', sha256(bytes)), bytes);
    return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const manifest = {
    schemaVersion: 2,
    config: await put(config(layers, more), 'application/vnd.oci.image.config.v1+json'),
    layers: await Promise.all(packed.map((bytes) => put(bytes, 'application/vnd.oci.image.layer.v1.tar'))),
  };
  const at = await put(Buffer.from(JSON.stringify(manifest)), 'application/vnd.oci.image.manifest.v1+json');
  const other = {
    ...at,
    digest: `sha256:${'0'.repeat(64)}`,
    platform: { os: 'linux', architecture: 'arm64' },
  };
  await writeFile(join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(root, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [other, at] }));
  return root;
}

function rootOf(
  ...layers: Entry[][]
): Map<string, { mode: number; owner: unknown; links: number; text: string }> {
  const root = new ContainerRoot();
  for (const layer of layers) root.apply(readTar(tar(layer)));
  return new Map(
    root
      .cpio('c')
      .map(({ path, mode, owner, links = 1, data = new Uint8Array(0) }) => [
        path,
        { mode, owner, links, text: Buffer.from(data).toString() },
      ]),
  );
}

const refused = (work: () => unknown, pattern: RegExp): Promise<void> =>
  assert.rejects(
    async () => {
      await work();
    },
    (error) =>
      (error instanceof CliError && pattern.test(error.message) && !error.message.includes('\n')) ||
      assert.fail(String(error)),
  );

describe('layers', () => {
  test('are put on each other, with modes, owners, links and what they delete', () => {
    const root = rootOf(
      [
        { path: './etc/', type: '5', mode: 0o700 },
        { path: 'etc/old', data: 'old' },
        { path: 'gone/deep/file', data: 'x' },
        { path: 'emptied/a', data: 'a' },
        { path: 'su', data: 'su', mode: 0o4755, owner: [7, 70_000] },
        { path: 'su2', type: '1', target: './su' },
        { path: 'bin', type: '2', target: 'usr/bin' },
      ],
      [
        { path: 'emptied/b', data: 'b' },
        { path: 'emptied/.wh..wh..opq' },
        { path: 'etc/.wh.old' },
        { path: '.wh.gone' },
        { path: 'etc/', type: '5', mode: 0o711 },
      ],
    );
    assert.deepEqual([...root.keys()].sort(), [
      'c',
      'c/bin',
      'c/emptied',
      'c/emptied/b',
      'c/etc',
      'c/su',
      'c/su2',
    ]);
    assert.equal(root.get('c/etc')!.mode, 0o040711);
    assert.deepEqual(root.get('c/su'), { mode: 0o104755, owner: [7, 70_000], links: 2, text: 'su' });
    assert.deepEqual(root.get('c/su2'), { mode: 0o104755, owner: [7, 70_000], links: 2, text: '' });
    assert.deepEqual(root.get('c/bin')!.text, 'usr/bin');
  });

  test('with long names, as GNU tar and pax write them, are read', () => {
    const long = `${'d/'.repeat(80)}file`;
    const pax = `path=${long}\n`;
    const record = `${String(pax.length + 4)} ${pax}`;
    for (const head of [
      { path: '././@LongLink', type: 'L', data: `${long}\0` },
      { path: 'pax', type: 'x', data: record },
    ])
      assert.equal(rootOf([head, { path: 'short', data: 'x' }]).get(`c/${long}`)?.text, 'x');
  });

  test('that lead out of the root, or through a link, are refused in one line', async () => {
    await refused(() => rootOf([{ path: '../../etc/passwd', data: 'x' }]), /leads out/);
    await refused(() => rootOf([{ path: 'a/../../b', data: 'x' }]), /leads out/);
    await refused(
      () =>
        rootOf([
          { path: 'out', type: '2', target: '/etc' },
          { path: 'out/passwd', data: 'x' },
        ]),
      /through what is no folder/,
    );
    await refused(() => rootOf([{ path: 'x', type: '1', target: '../../etc/shadow' }]), /leads out/);
    await refused(() => rootOf([{ path: 'x', type: '1', target: 'nothing' }]), /another name of/);
    await refused(() => readTar(Buffer.alloc(512, 7)), /no tar archive/);
    await refused(() => readTar(tar([{ path: 'a', data: 'abc' }]).subarray(0, 513)), /middle of a file/);
    await refused(() => readTar(tar([{ path: 'a', type: 'S' }])), /type "S"/);
  });
});

describe('the user of an image', () => {
  const root = new ContainerRoot();
  const passwd = 'root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/web:/bin/false\n';
  const group = 'root:x:0:\nweb:x:44:\nlogs:x:50:web,other\nkeys:x:51:other\nspool:x:52:web\n';
  root.apply(
    readTar(
      tar([
        { path: 'etc/passwd', data: passwd },
        { path: 'etc/group', data: group },
      ]),
    ),
  );

  for (const [user, uid, gid, groups, home] of [
    [undefined, 0, 0, [], '/root'],
    ['', 0, 0, [], '/root'],
    ['web', 33, 44, [50, 52], '/srv/web'],
    ['33', 33, 44, [50, 52], '/srv/web'],
    ['web:logs', 33, 50, [], '/srv/web'],
    ['web:7', 33, 7, [], '/srv/web'],
    ['1000', 1000, 0, [], undefined],
    ['1000:1001', 1000, 1001, [], undefined],
  ] as const)
    test(`${String(user)} is found as container engines find it`, () => {
      assert.deepEqual(findUser(root, user), { uid, gid, groups, home });
    });

  test('that the image does not know is refused in one line', async () => {
    for (const user of ['nobody', 'web:nothing', '99999999999'])
      await refused(() => findUser(root, user), /which its \/etc\/(passwd|group) does not know/);
  });
});

describe('container images', () => {
  const layer = tar([{ path: 'bin/start', data: '#!' }]);

  test('are read in each form, packed in each way', async () => {
    for (const pack of [(bytes: Uint8Array) => bytes, gzipSync, zstdCompressSync]) {
      for (const source of [
        await saved([layer], start, [pack(layer)]),
        `oci:${await layout([layer], [pack(layer)])}`,
      ]) {
        const image = await readContainerImage(source);
        assert.deepEqual(image.layers.map(sha256), [sha256(layer)]);
        assert.deepEqual(image.config.Cmd, start.Cmd);
        if (!source.startsWith('oci:')) assert.equal(image.name, 'greeter');
      }
    }
  });

  test('that are none, or other than their digests say, or too large, are refused in one line', async () => {
    const other = tar([{ path: 'bin/start', data: 'other' }]);
    await refused(async () => readContainerImage(await saved([layer], start, [other])), /layer 1 .* another/);
    const root = await layout([layer], [layer]);
    await writeFile(join(root, 'blobs/sha256', sha256(layer)), other);
    await refused(() => readContainerImage(root), /the blob .* another/);
    await refused(
      async () => readContainerImage(await saved([layer], start, [layer], config([layer], start, 'arm64'))),
      /linux\/arm64/,
    );
    const bomb = gzipSync(Buffer.alloc(200 * 2 ** 20));
    await refused(async () => readContainerImage(await saved([layer], start, [bomb])), /larger than 192 MiB/);
    await refused(
      async () => readContainerImage(await saved([layer], start, [layer.subarray(0, 0), layer])),
      /another/,
    );
    await refused(
      async () => readContainerImage(`docker-archive:${await layout([layer], [layer])}`),
      /no manifest.json/,
    );
    await refused(() => readContainerImage(join(folder, 'nothing')), /can't read/);
    // A file that claims a TiB is not read, and nothing outside of a folder is, by name or by link.
    await writeFile(join(folder, 'sparse.tar'), '');
    await truncate(join(folder, 'sparse.tar'), 2 ** 40);
    await refused(() => readContainerImage(join(folder, 'sparse.tar')), /larger than 192 MiB/);
    const unpacked = join(folder, 'unpacked');
    await mkdir(unpacked);
    const names = (Config: string): string => JSON.stringify([{ Config, RepoTags: [], Layers: [] }]);
    for (const name of ['../sparse.tar', 'link.json']) {
      await symlink('../sparse.tar', join(unpacked, 'link.json')).catch(() => undefined);
      await writeFile(join(unpacked, 'manifest.json'), names(name));
      await refused(() => readContainerImage(`docker-archive:${unpacked}`), /outside of it/);
    }
    await refused(
      async () => makeContainerGuest(await readContainerImage(await saved([layer], {})), Buffer.alloc(0)),
      /no program/,
    );
    const missing = { Entrypoint: ['/bin/other'] };
    await refused(
      async () =>
        makeContainerGuest(await readContainerImage(await saved([layer], missing)), Buffer.alloc(0)),
      /does not hold/,
    );
  });
});

/** One file of a cpio archive (newc). */
function fileOf(archive: Uint8Array, wanted: string): Uint8Array {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.length);
  for (let at = 0; ;) {
    const field = (n: number): number =>
      Number.parseInt(bytes.toString('latin1', at + 6 + 8 * n, at + 14 + 8 * n), 16);
    const [size, named] = [field(6), field(11)];
    const from = (at + 110 + named + 3) & ~3;
    const name = bytes.toString('utf8', at + 110, at + 109 + named);
    assert.notEqual(name, 'TRAILER!!!', `no ${wanted}`);
    if (name === wanted) return bytes.subarray(from, from + size);
    at = (from + size + 3) & ~3;
  }
}

test(
  'a container of BusyBox boots, runs its program as its user with its words and environment, and ends with its status, in a cluster too',
  { timeout: 600_000 },
  async (context) => {
    const base = await findImage('linux-cloud');
    if (base === undefined && process.env['CI'] === undefined) {
      context.skip('linux-cloud is not in the cache');
      return;
    }
    const { folder: from } = base ?? (await fetchImage('linux-cloud', () => undefined));
    const busybox = fileOf(await readImageFile((await findImage('linux-cloud'))!, 'initrd'), 'bin/busybox');
    const program = `#!/bin/sh
echo "$GREETING from $(pwd) of $HOME:" "$@"; ls /etc; [ /bin/sh -ef /bin/busybox ] && echo one file
id; echo to the log >/dev/stderr; touch /etc/mine || exit 7\n`;
    const layers = [
      tar([
        { path: 'bin/busybox', data: busybox },
        { path: 'bin/sh', type: '1', target: 'bin/busybox' },
        { path: 'etc/old', data: '' },
        { path: 'etc/passwd', data: 'greeter:x:33:44::/home/greeter:/bin/sh\n' },
        { path: 'etc/group', data: 'logs:x:50:greeter\n' },
        ...['id', 'ls', 'pwd', 'touch'].map((name) => ({
          path: `bin/${name}`,
          type: '2',
          target: 'busybox',
        })),
      ]),
      tar([{ path: 'etc/.wh.old' }, { path: 'etc/new', data: '' }, { path: 'app/start', data: program }]),
    ];
    const source = await layout(layers, [gzipSync(layers[0]!), zstdCompressSync(layers[1]!)], {
      ...start,
      User: 'greeter',
    });
    const cache = join(folder, 'cache');
    await mkdir(join(cache, 'images'), { recursive: true });
    await symlink(from, join(cache, 'images/linux-cloud'));
    const main = join(import.meta.dirname, '../../main.ts');
    const run = async (...words: string[]): Promise<{ code: number | null; text: string }> => {
      const child = spawn(process.execPath, [main, ...words], {
        env: { ...process.env, REVENANT_CACHE: cache },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let text = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (bytes: Buffer) => (text += bytes.toString()));
      const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
      return { code, text };
    };
    const imported = await run('images', 'import', `oci:${source}`, '--as', 'greeter');
    assert.equal(imported.code, 0, imported.text);
    assert.equal(dirname(imported.text.trim()), join(cache, 'images'));
    assert.match((await run('images')).text, /greeter +cached +container image sha256:/);
    const { code, text } = await run('run', 'greeter', '--at-eof', 'stay');
    assert.match(
      text,
      /hello there from \/work of \/home\/greeter: one it's two\r?\ngroup +hosts +new +passwd\r?\none file\r?\nuid=33\(greeter\) gid=44 groups=50\(logs\)/,
    );
    assert.match(
      text,
      /to the log\r?\ntouch: \/etc\/mine: Permission denied\r?\nRevenant: the program ended with status 7/,
    );
    assert.equal(code, 7, 'the status of its program');
    const store = `file:${join(folder, 'store')}`;
    await run('store', 'init', store);
    const node = spawn(process.execPath, [main, 'node', '--store', store, '--name', 'a'], {
      env: { ...process.env, REVENANT_CACHE: cache },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(node.stdout, 'data');
      const created = await run('vm', 'create', 'job', 'greeter', '--store', store);
      assert.equal(created.code, 0, created.text);
      const waited = await run('vm', 'wait', 'job', '--store', store);
      // Before that, where it takes a while, that it waits.
      assert.equal(
        waited.text.trim().split('\n').at(-1),
        'job is stopped: the guest powered itself off with status 7',
      );
      assert.equal(waited.code, 7);
      assert.match((await run('vm', 'wait', 'nobody', '--store', store)).text, /there is no VM nobody/);
    } finally {
      node.kill();
      await once(node, 'close');
    }
    const refusals = await run('images', 'import', source, '--as', 'linux-cloud');
    assert.match(refusals.text, /is an image of ours/);
  },
);
