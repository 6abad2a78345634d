/**
 * Commands in a Linux guest by its agent, on a cluster of node processes: streams, status, files, and what becomes of them when the node is
 * killed meanwhile, or just after the answer. Needs the image linux-cloud in the cache.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ClusterClient, Guardian, isClusterError, NodeProcess, type JobOptions } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { readImageFile, type Image } from '../../packages/cli/src/images/image.ts';
import { execByMcp } from '../../packages/cli/test-support/exec-by-mcp.ts';
import { imageOrSkip } from '../linux/shell.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

interface Ran {
  status: number;
  out: string;
  errors: string;
}

async function exec(client: ClusterClient, command: string, more: Partial<JobOptions> = {}): Promise<Ran> {
  let [out, errors] = ['', ''];
  const status = await client.exec('box', {
    command: ['sh', '-c', command],
    stdout: (bytes) => (out += Buffer.from(bytes).toString('latin1')),
    stderr: (bytes) => (errors += Buffer.from(bytes).toString('latin1')),
    patienceMs: 600_000,
    ...more,
  });
  return { status, out, errors };
}

async function create(client: ClusterClient, image: Image): Promise<void> {
  const description = {
    memoryBytes: 128 * 2 ** 20,
    commandLine: `${image.manifest.commandLine} quiet run="sleep 1000000"`,
    kernel: await client.putBlob(await readImageFile(image, 'kernel')),
    initrd: await client.putBlob(await readImageFile(image, 'initrd')),
  };
  const spec = { runtime: 'machine', description, memoryMiB: 128, priority: 1, outputs: 'async' as const };
  await client.command({ type: 'vm-create', vmId: 'box', spec, start: true });
}

const numbers = Array.from({ length: 40 }, (_, n) => String(n + 1));

test(
  'commands run in a guest once, whatever becomes of its node',
  { timeout: 1_800_000 },
  async (context) => {
    const image = await imageOrSkip(context, 'linux-cloud');
    if (image === undefined) return;
    buildModules(() => undefined);
    const folder = mkdtempSync(join(tmpdir(), 'revenant-agent-'));
    const guardian = await Guardian.start();
    guardian.remove(folder);
    const store = `file:${folder}/store`;
    const names = ['a', 'b'];
    const start = async (name: string): Promise<[string, NodeProcess]> => [
      name,
      await NodeProcess.start({
        store,
        name,
        profile: 'default',
        logFile: join(folder, `${name}.log`),
        guardian,
      }),
    ];
    const nodes = new Map(await Promise.all(names.map(start)));
    const client = new ClusterClient({ store, answerMs });
    const killHolder = async (): Promise<void> =>
      nodes.get((await client.waitFor('box', ['running'])).assignment!.node)!.kill();
    try {
      await create(client, image);

      const first = await exec(client, 'echo out; echo errors >&2; pwd; echo "$WORD"; exit 7', {
        environment: { WORD: "it's" },
      });
      assert.deepEqual(first, { status: 7, out: "out\n/root\nit's\n", errors: 'errors\n' });
      assert.equal((await exec(client, 'kill -9 $$')).status, 137);
      const missing = await client.exec('box', { command: ['no such program'] });
      assert.equal(missing, 127);
      await execByMcp(store);

      const content = randomBytes(250_000);
      async function* pieces(): AsyncGenerator<Uint8Array> {
        yield content.subarray(0, 100);
        yield content.subarray(100);
      }
      const hash = createHash('sha256').update(content).digest('hex');
      const sum = await exec(client, 'tee copy | sha256sum', { stdin: pieces() });
      assert.equal(sum.out, `${hash}  -\n`);
      assert.equal((await exec(client, 'cat copy')).out, content.toString('latin1'));

      // Several at once, one of which is given up.
      const stop = new AbortController();
      const several = await Promise.all([
        exec(client, 'sleep 1; echo one'),
        exec(client, 'echo two'),
        exec(client, 'echo started; sleep 100000', {
          signal: stop.signal,
          stdout: () => stop.abort(),
        }),
      ]);
      assert.deepEqual(
        several.map(({ status, out }) => [status, out]),
        [
          [0, 'one\n'],
          [0, 'two\n'],
          [143, ''],
        ],
      );

      // Its node is killed while one runs, and as soon as another has answered.
      let heard = '';
      const half = Promise.withResolvers<undefined>();
      const long = exec(client, 'for n in $(seq 1 40); do echo $n; echo $n >>done; sleep 0.1; done', {
        stdout: (bytes) => {
          heard += Buffer.from(bytes).toString();
          if (heard.includes('\n20\n')) half.resolve(undefined);
        },
      });
      await half.promise;
      assert.equal((await exec(client, 'echo kept >kept')).status, 0);
      await killHolder();
      assert.equal((await long).status, 0);
      assert.deepEqual(heard.trim().split('\n'), numbers);
      assert.deepEqual((await exec(client, 'cat done')).out.trim().split('\n'), numbers);
      assert.equal((await exec(client, 'cat kept')).out, 'kept\n');

      await client.command({ type: 'vm-stop', vmId: 'box' });
      await assert.rejects(
        exec(client, 'true'),
        (error) => isClusterError(error, 'CONFLICT') && /is stopped/.test(error.message),
      );
    } finally {
      await client.close();
      for (const node of nodes.values()) node.kill();
      await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
    }
  },
);
