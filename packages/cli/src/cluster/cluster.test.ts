/** The cluster's commands against a running cluster: what they print, their errors with exit codes, and VMs made from images. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { baseImageName, openBaseImage, openStore, PagePool } from '@revenant/storage';

const program = join(import.meta.dirname, '../main.ts');
const token = 'a token for this test';
let folder: string;
const nodes: ChildProcess[] = [];

interface Result {
  code: number;
  out: string;
  error: string;
}

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  REVENANT_STORE: `file:${folder}/store`,
  REVENANT_TOKEN_FILE: `${folder}/token`,
});

function revenant(...words: string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, ...words],
      { env: environment(), timeout: 1_800_000 },
      (error, out, stderr) => resolve({ code: error === null ? 0 : Number(error.code), out, error: stderr }),
    );
  });
}

async function ok(...words: string[]): Promise<string> {
  const result = await revenant(...words);
  assert.equal(result.code, 0, `${words.join(' ')}: ${result.error}`);
  return result.out;
}

async function json(...words: string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await ok(...words, '--json')) as Record<string, unknown>;
}

async function startNode(name: string, store = 'store'): Promise<ChildProcess> {
  const words = [
    'node',
    '--memory-mib',
    '2000',
    '--store',
    `file:${folder}/${store}`,
    '--name',
    name,
    '--token-file',
    `${folder}/token`,
  ];
  const child = spawn(process.execPath, [program, ...words, '--log-level', 'error'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  nodes.push(child);
  await new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  return child;
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-cli-'));
  await writeFile(`${folder}/token`, `${token}\n`);
  await Promise.all(['a', 'b'].map((name) => startNode(name)));
  // A node that listens is not yet one that the master counts on.
  for (let tries = 0; !/^2 of 2 nodes alive, master [ab]/.test(await ok('cluster', 'status')); tries++) {
    assert.ok(tries < 600, await ok('cluster', 'status'));
    await sleep(200);
  }
});

after(async () => {
  for (const child of nodes) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

test(
  'a VM is created, shown, moved, paused, stopped and deleted from the command line',
  { timeout: 1_800_000 },
  async () => {
    const created = await json('vm', 'create', 'one', 'builtin', '--priority', '7');
    assert.equal(created['status'], 'running');
    assert.match(await ok('vm', 'list'), /^one +running +[ab] +- +16 MiB +7/m);
    const first = await json('vm', 'show', 'one');
    assert.equal(first['epoch'], 1);

    await ok('vm', 'migrate', 'one');
    const moved = await json('vm', 'show', 'one');
    assert.notEqual(moved['holder'], first['holder']);
    assert.equal(moved['epoch'], 2);

    assert.match(await ok('vm', 'pause', 'one'), /one is paused/);
    assert.match(await ok('vm', 'resume', 'one'), /one is running/);
    const events = (await ok('vm', 'events', 'one', '--json')).trim().split('\n');
    const names = events.map((line) => (JSON.parse(line) as { event: string }).event);
    for (const expected of [
      'command-vm-create',
      'vm-executes',
      'vm-suspended',
      'command-vm-pause',
      'vm-paused',
    ])
      assert.ok(names.includes(expected), `${expected} in ${names.join(' ')}`);

    assert.match(await ok('vm', 'stop', 'one'), /one is stopped/);
    await ok('vm', 'delete', 'one');
    for (let tries = 0; (await ok('vm', 'list')) !== 'no VMs\n'; tries++) {
      assert.ok(tries < 600, 'the VM is still in the list');
      await sleep(200);
    }
  },
);

test('the console shows what the guest writes, and ends with the VM', { timeout: 1_800_000 }, async () => {
  await ok('vm', 'create', 'two', 'builtin');
  let out = '';
  let error = '';
  const attached = spawn(process.execPath, [program, 'vm', 'console', 'two'], {
    env: environment(),
    stdio: 'pipe',
  });
  const ended = new Promise((resolve) => attached.once('exit', resolve));
  attached.stderr.on('data', (data: Buffer) => (error += data.toString()));
  await new Promise<void>((resolve, reject) => {
    attached.stdout.on('data', (data: Buffer) => {
      out += data.toString();
      if (/^step 1 [0-9a-f]{16}\r?$/m.test(out)) resolve();
    });
    attached.once('exit', () => {
      reject(new Error(`the console ended: ${error}`));
    });
  });
  const picture = join(folder, 'two.png');
  await ok('vm', 'screenshot', 'two', '--png', picture);
  // PNG (RFC 2083): signature, then IHDR with width and height.
  const png = await readFile(picture);
  assert.deepEqual([...png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [80 * 8, 25 * 16]);
  await ok('vm', 'stop', 'two');
  assert.equal(await ended, 0, error);
  assert.match(error, /two is stopped: powered off by a person/);
});

test('the cluster is shown, and a node is drained', { timeout: 1_800_000 }, async () => {
  assert.match(await ok('cluster', 'status'), /^2 of 2 nodes alive, master [ab]/);
  await ok('cluster', 'drain', 'a');
  assert.match(await ok('cluster', 'nodes'), /^a( \(master\))? +maintenance/m);
  await ok('cluster', 'undrain', 'a');
  assert.doesNotMatch(await ok('cluster', 'nodes'), /maintenance/);
  // With nowhere to go: what stays, and why.
  await ok('cluster', 'drain', 'b');
  await ok('vm', 'create', 'three', 'builtin');
  const nowhere = await revenant('cluster', 'drain', 'a');
  assert.deepEqual([nowhere.code, nowhere.out], [16, ''], nowhere.error);
  assert.match(nowhere.error, /a is not empty: .*three \(no node fits: 1 maintenance\) stays on a/);
  await ok('vm', 'delete', 'three');
  for (const node of ['a', 'b']) await ok('cluster', 'undrain', node);
  assert.match(await ok('cluster', 'events', '--since', '10m'), /command-drain/);
});

test(
  'while no node runs, commands go into the store and take effect later',
  { timeout: 1_800_000 },
  async () => {
    const store = ['--store', `file:${folder}/unattended`];
    const missing = await revenant('vm', 'create', 'four', 'builtin', ...store);
    assert.equal(missing.code, 4, missing.error);
    await ok('store', 'init', `file:${folder}/unattended`);
    const stored = /no node is running: stored, and takes effect when one starts/;
    assert.match(await ok('vm', 'create', 'four', 'builtin', ...store), stored);
    const listed = await revenant('vm', 'list', ...store);
    assert.match(listed.out, /^four +pending/m);
    assert.match(listed.error, /no node answers; this is what the store holds/);
    const again = await revenant('vm', 'create', 'four', 'builtin', ...store);
    assert.equal(again.code, 16, again.error);
    const moved = await revenant('vm', 'migrate', 'four', ...store);
    assert.equal(moved.code, 18, moved.error);
    assert.match(moved.error, /no node answers, and only nodes can move a VM/);

    const first = await startNode('c', 'unattended');
    const status = async (): Promise<string> =>
      ((await json('vm', 'show', 'four', ...store)) as { status: string }).status;
    for (let tries = 0; (await status()) !== 'running'; tries++) assert.ok(tries < 600, await status());
    // A node that is killed takes its events of the last quarter of a second with it.
    const executions = async (): Promise<number | undefined> =>
      (await ok('vm', 'events', 'four', ...store)).match(/ vm-executes /g)?.length;
    for (let tries = 0; (await executions()) === undefined; tries++) assert.ok(tries < 600);
    first.kill('SIGKILL');
    await new Promise((resolve) => first.once('exit', resolve));

    const executed = await executions();
    assert.equal(await status(), 'running', 'as the list has it');
    assert.match(await ok('vm', 'delete', 'four', ...store), stored);
    assert.match(await ok('cluster', 'drain', 'c', ...store), stored);
    assert.match(await ok('cluster', 'status', ...store), /^0 of 1 nodes alive/);
    assert.match(
      await ok('vm', 'events', 'four', ...store),
      /store-client +command-vm-delete .*asked by a person through the store/,
    );
    await startNode('c', 'unattended');
    for (let tries = 0; !/^c.* maintenance /m.test(await ok('cluster', 'nodes', ...store)); tries++)
      assert.ok(tries < 600);
    for (let tries = 0; (await ok('vm', 'list', ...store)) !== 'no VMs\n'; tries++) assert.ok(tries < 600);
    // On a host with much to do it may have been taken over before: what counts is that it does not run after it was deleted.
    assert.equal(await executions(), executed);
  },
);

test(
  'the processors that a VM was created with are in its checkpoints, on whatever node they are made',
  { timeout: 1_800_000 },
  async () => {
    const processors = async (): Promise<unknown> => {
      const { cpus, description } = await json(
        'checkpoint',
        'show',
        'wide',
        '--store',
        `file:${folder}/store`,
      );
      return [cpus, (description as { cpu: unknown }).cpu];
    };
    await ok('vm', 'create', 'wide', 'builtin', '--cpu', 'x86-64-v3', '--cpus', '3');
    await ok('vm', 'migrate', 'wide');
    assert.deepEqual(await processors(), [3, { model: 'x86-64-v3', count: 3 }]);
    const { instructions } = await json('checkpoint', 'show', 'wide', '--store', `file:${folder}/store`);
    for (let tries = 0; ; tries++) {
      const now = await json('checkpoint', 'show', 'wide', '--store', `file:${folder}/store`);
      if (Number(now['instructions']) > Number(instructions)) break;
      assert.ok(tries < 600);
    }
    assert.deepEqual(await processors(), [3, { model: 'x86-64-v3', count: 3 }]);
    await ok('vm', 'delete', 'wide');
  },
);

test('what makes no sense gets one line, a hint and its exit code', { timeout: 1_800_000 }, async () => {
  const cases: [string[], number, RegExp][] = [
    [['vm', 'show', 'nobody'], 16, /there is no VM nobody/],
    [['vm', 'fly'], 2, /there is no command 'revenant vm fly'/],
    [['vm', 'create', 'UPPER', 'builtin'], 2, /is no name for a VM/],
    [
      ['vm', 'create', 'three', 'builtin', '--health', 'pulse:3'],
      2,
      /--health: 'pulse:3' is no sign with seconds/,
    ],
    [['vm', 'create', 'three', 'windows'], 2, /there is no image 'windows'/],
    [
      ['vm', 'create', 'three', 'builtin', '--memory', '100G'],
      4,
      /a machine can't have 107374182400 bytes of memory/,
    ],
    [
      ['vm', 'create', 'three', 'builtin', '--memory', '3G'],
      16,
      /--memory: it takes 3072 MiB of memory, and no node has so much for VMs: \w+ has 2000/,
    ],
    [
      ['vm', 'create', 'three', 'builtin', '--cpu', '486', '--cpus', '2'],
      4,
      /machine description: 2 processors 486/,
    ],
    [['vm', 'create', 'three', 'builtin', '--cpus', '17'], 2, /--cpus: '17' is no whole number from 1 to 16/],
    [['cluster', 'drain', 'nowhere'], 16, /there is no node nowhere/],
    [['cluster', 'status', '--token-file', `${folder}/none`], 4, /can't read/],
    [['node', '--name', 'x'], 2, /a node needs --store and --name/],
  ];
  for (const [words, code, line] of cases) {
    const result = await revenant(...words);
    assert.equal(result.code, code, `${words.join(' ')}: ${result.error}`);
    const lines = result.error.trim().split('\n');
    assert.match(lines[0] ?? '', line);
    assert.ok(lines.length <= 2, result.error);
  }
  await writeFile(`${folder}/wrong`, 'quite another token');
  assert.equal((await revenant('vm', 'list', '--token-file', `${folder}/wrong`)).code, 16);
});

test(
  'a node that can not be part of the cluster ends with one line and exit code 16',
  { timeout: 1_800_000 },
  async () => {
    await writeFile(`${folder}/wrong`, 'quite another token');
    const node = (name: string, tokenFile: string | undefined, store = 'store'): Promise<Result> =>
      revenant(
        ...['node', '--store', `file:${folder}/${store}`, '--name', name, '--log-level', 'error'],
        ...(tokenFile === undefined ? [] : ['--token-file', `${folder}/${tokenFile}`]),
      );
    const startAlone = async (): Promise<ChildProcess> => startNode('solo', 'claimed');
    const first = await startAlone();
    const cases: [Promise<Result>, RegExp][] = [
      [node('other', 'wrong', 'claimed'), /belongs to a cluster with another token$/],
      [node('other', undefined, 'claimed'), /belongs to a cluster with a token, and this node has none$/],
      [node('solo', 'token', 'claimed'), /a node named solo is alive on the store/],
    ];
    for (const [ending, line] of cases) {
      const { code, error } = await ending;
      assert.equal(code, 16, error);
      // The log of the one that listened tells it too.
      const lines = error.split('\n').filter((each) => each !== '' && !each.startsWith('{'));
      assert.match(lines[0] ?? '', line);
      assert.match(lines[1] ?? '', /^ {2}hint: /);
      assert.equal(lines.length, 2, error);
    }
    const released = await revenant('store', 'release', `file:${folder}/claimed`);
    assert.deepEqual([released.code, /solo of its cluster is alive/.test(released.error)], [16, true]);
    // While it is dead: a wrong token is still one, and its own name is free for it.
    first.kill('SIGKILL');
    await new Promise((resolve) => first.once('exit', resolve));
    const wrong = await node('solo', 'wrong', 'claimed');
    assert.equal(wrong.code, 16, wrong.error);
    const again = await startAlone();
    const status = (): Promise<Record<string, unknown>> =>
      json('cluster', 'status', '--store', `file:${folder}/claimed`);
    for (let tries = 0; (await status())['node'] !== 'solo'; tries++) assert.ok(tries < 600);
    again.kill('SIGKILL');
    await new Promise((resolve) => again.once('exit', resolve));
    assert.match(await ok('store', 'release', `file:${folder}/claimed`), /it is free now/);
  },
);

test(
  'a VM is made from a qcow2 image: what a guest sees on it is in the store',
  { timeout: 1_800_000 },
  async (context) => {
    const raw = Buffer.concat([Buffer.alloc(2 ** 20), randomBytes(300 * 512), Buffer.alloc(2 ** 20)]);
    await writeFile(`${folder}/raw.img`, raw);
    const made = spawnSync('qemu-img', [
      'convert',
      '-f',
      'raw',
      '-O',
      'qcow2',
      '-c',
      `${folder}/raw.img`,
      `${folder}/disk.qcow2`,
    ]);
    if (made.status !== 0) return context.skip('there is no qemu-img here (Debian: qemu-utils)');
    await ok(
      'vm',
      'create',
      'qcow',
      'builtin',
      '--disk',
      `${folder}/disk.qcow2`,
      '--store',
      `file:${folder}/store`,
      '--no-start',
    );
    const sha256 = createHash('sha256').update(raw).digest('hex');
    const store = await openStore(`file:${folder}/store`, { create: false });
    const pool = new PagePool();
    try {
      const { info } = await openBaseImage(store, baseImageName(sha256), { pool });
      assert.deepEqual([info.contentHash, info.pageCount], [sha256, Math.ceil(raw.length / 4096)]);
    } finally {
      await pool.close();
      await store.close();
    }
    const refused = await revenant(
      'vm',
      'create',
      'rw',
      'builtin',
      '--disk',
      `${folder}/disk.qcow2,rw`,
      '--store',
      `file:${folder}/store`,
    );
    assert.match(refused.error, /never writes to the file/);
  },
);
