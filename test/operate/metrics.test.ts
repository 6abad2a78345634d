/**
 * A node with a token, as Debian's Prometheus sees it: scraped by a person's token, clean for promtool, with all that the dashboard shows; and its
 * probes, which take no token. Without apt the part with Prometheus is left out.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { ClusterClient, ClusterNode, makeSettings } from '@revenant/cluster';
import { PrivateApt } from '../../packages/cli/src/images/apt.ts';
import { cacheFolder } from '../../packages/cli/src/images/cache.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

const run = promisify(execFile);
const token = "the cluster's own token";
const viewer = 'token-of-vera-view';

/** The folder of Prometheus' programs from Debian's package, which stays in the cache; undefined, and the test left out, where it can't be had. */
async function prometheusOrSkip(context: TestContext): Promise<string | undefined> {
  const folder = join(cacheFolder(), 'tools', 'prometheus');
  const programs = join(folder, 'usr', 'bin');
  if (existsSync(join(programs, 'promtool'))) return programs;
  const part = `${folder}.${String(process.pid)}.tmp`;
  try {
    await mkdir(part, { recursive: true });
    const apt = new PrivateApt(join(cacheFolder(), 'apt', 'amd64'), 'amd64');
    await apt.update();
    const { path } = await apt.download('prometheus', part);
    await run('dpkg-deb', ['-x', path, part]);
    await rm(path);
    await rename(part, folder);
    return programs;
  } catch (error) {
    context.skip(`Prometheus can't be had here: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

describe('a node, watched', () => {
  let folder = '';
  let node: ClusterNode;
  let text = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-operate-'));
    const people = join(folder, 'people');
    await writeFile(people, `vera view ${viewer}\n`);
    node = await ClusterNode.start({
      name: 'a',
      store: `file:${folder}/store`,
      listen: '127.0.0.1:0',
      settings: makeSettings('default', { checkpointMs: 200 }),
      logLevel: 'silent',
      memoryMiB: 256,
      token,
      people,
    });
    const client = new ClusterClient({ nodes: [node.address], token, answerMs });
    const spec = {
      runtime: 'chain',
      description: {},
      memoryMiB: 16,
      priority: 1,
      outputs: 'checkpoint' as const,
    };
    await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
    await until('checkpoints', () => node.vms.figures.some(({ checkpoints }) => checkpoints > 2));
    await client.close();
    text = await (await ask('/metrics', `Bearer ${viewer}`)).text();
  });
  after(async () => {
    await node.close();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = (path: string, authorization?: string): Promise<Response> =>
    fetch(`http://${node.address}${path}`, authorization === undefined ? {} : { headers: { authorization } });
  const value = (series: string): number => {
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    assert.ok(line !== undefined, `no ${series} in\n${text}`);
    return Number(line.slice(series.length + 1));
  };

  test('whoever watches processes needs no token', async () => {
    const answer = await ask('/healthz');
    assert.deepEqual([answer.status, await answer.text()], [200, 'ok\n']);
    // On a busy host the lease may just have run out.
    await until('the node is ready', async () => (await ask('/readyz')).status === 200);
    const { status } = await ask('/healthz/x');
    assert.equal(status, 401);
  });

  test('metrics are for those with a token, and a token as it is opens nothing else', async () => {
    assert.equal((await ask('/metrics')).status, 401);
    assert.equal((await ask('/metrics', 'Bearer token-of-nobody-here')).status, 401);
    assert.equal((await ask('/metrics', 'Bearer ')).status, 401);
    assert.equal((await ask('/metrics', `Bearer ${token}`)).status, 200);
    assert.equal((await ask('/v1/status', `Bearer ${token}`)).status, 401);
  });

  test('they tell of the node, its guests, and how long things took', () => {
    assert.equal(value('revenant_vms'), 1);
    assert.equal(value('revenant_vm_memory_bytes{vm="v"}'), 16 * 2 ** 20);
    for (const each of ['checkpoint_pause', 'checkpoint_store', 'store_put', 'output_wait', 'takeover'])
      assert.ok(value(`revenant_${each}_seconds_count`) > 0, each);
    for (const each of ['get', 'put', 'list'])
      assert.ok(value(`revenant_store_requests_total{request="${each}"}`) > 0, each);
    assert.ok(value('revenant_vm_instructions_total{vm="v"}') > 0);
    assert.ok(value('revenant_vm_busy_seconds_total{vm="v"}') > 0);
    assert.equal(value('revenant_failover_disarmed'), 0);
    assert.equal(value('revenant_rebalancing'), 1);
    assert.equal(value('revenant_rebalance_moves_total'), 0);
    assert.match(text, /revenant_build_info\{node="a",protocol="\d+",runtime="v\d[^"]*"\} 1/);
  });

  test('the dashboard shows what there is', async () => {
    const dashboard = await readFile(new URL('../../release/operate/grafana.json', import.meta.url), 'utf8');
    JSON.parse(dashboard);
    const shown = new Set(dashboard.match(/\brevenant_\w+/g));
    assert.ok(shown.size > 10);
    // A series of a label that nobody has has no line of its own yet.
    for (const name of shown)
      assert.match(text, new RegExp(String.raw`^(# TYPE )?${name.replace(/_bucket$/, '')}\b`, 'm'));
  });

  test("Debian's Prometheus scrapes them, and its promtool has no complaint", async (context) => {
    const programs = await prometheusOrSkip(context);
    if (programs === undefined) return;
    const checking = spawn(join(programs, 'promtool'), ['check', 'metrics'], { stdio: 'pipe' });
    let complaints = '';
    for (const stream of [checking.stdout, checking.stderr])
      stream.on('data', (bytes: Buffer) => (complaints += bytes.toString()));
    const checked = new Promise((resolve) => checking.on('close', resolve));
    checking.stdin.end(text);
    assert.equal(await checked, 0, complaints);
    assert.equal(complaints, '');

    const [port = 0] = await freePorts(1);
    const config = join(folder, 'prometheus.json');
    const job = {
      job_name: 'revenant',
      scrape_interval: '1s',
      authorization: { credentials: viewer },
      static_configs: [{ targets: [node.address] }],
    };
    // YAML holds all of JSON.
    await writeFile(config, JSON.stringify({ scrape_configs: [job] }));
    const server = spawn(
      join(programs, 'prometheus'),
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${folder}/tsdb`,
        `--web.listen-address=127.0.0.1:${String(port)}`,
      ],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => server.on('close', resolve));
    try {
      const query = `http://127.0.0.1:${String(port)}/api/v1/query?query=revenant_vms`;
      await until('a scrape', async () => {
        const answer = await fetch(query).then(
          (got) => got.text(),
          () => '',
        );
        return /"job":"revenant"\},"value":\[[\d.]+,"1"\]/.test(answer);
      });
    } finally {
      server.kill();
      await ended;
    }
  });
});
