/**
 * PostgreSQL in a guest, on a disk, in a cluster with the policy `log`; one psql on the host counts in it over one connection while the node
 * that runs the guest is killed again and again:
 *
 *     node test/network/postgres.ts --failovers 10
 *
 * No number may be missing or come twice, and psql connects once. Wants Debian's apt, e2fsprogs and postgresql-client; some minutes, by far
 * fewer by root, who makes the data base on the host. `--disk FILE` keeps the disk there, and takes it from there the next time.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { KillableNodes } from './killable-nodes.ts';
import { makePostgresDisk } from './postgres-disk.ts';

const run = promisify(execFile);
const countsBetween = 20;

/** One psql, with one connection for its whole life. */
class Counter {
  readonly #psql: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  count = 0;
  longestMs = 0;

  constructor(port: string) {
    const words = `-h 127.0.0.1 -p ${port} -U postgres -X -q -A -t -v ON_ERROR_STOP=1`.split(' ');
    this.#psql = spawn('psql', [...words, 'postgres'], { env: { ...process.env, PGCONNECT_TIMEOUT: '60' } });
    this.#psql.stderr.pipe(process.stderr);
    this.#reader = createInterface(this.#psql.stdout);
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async ask(question: string): Promise<string> {
    this.#psql.stdin.write(`${question};\n`);
    const { value, done } = await this.#lines.next();
    assert.notEqual(done, true, 'psql has ended: its connection is gone');
    return value;
  }

  /** Which process of the server has the connection: another connection would have another. */
  begin(): Promise<string> {
    return this.ask('create table counter as select 0 as n; select pg_backend_pid()');
  }

  async next(): Promise<void> {
    const began = performance.now();
    assert.equal(await this.ask('update counter set n = n + 1 returning n'), String(++this.count));
    this.longestMs = Math.max(this.longestMs, performance.now() - began);
  }

  close(): void {
    this.#reader.close();
    this.#psql.kill('SIGKILL');
  }
}

/** A copy of the kept disk, which is made if there is none. */
function diskIn(folder: string, { disk: kept, say }: Run): string {
  const disk = join(folder, 'postgres.img');
  if (kept === undefined || !existsSync(kept)) {
    say('making the disk');
    makePostgresDisk(folder, disk);
    if (kept !== undefined) copyFileSync(disk, kept);
  } else copyFileSync(kept, disk);
  return disk;
}

async function createServer(nodes: KillableNodes, disk: string, port: string): Promise<void> {
  await nodes.revenant('network', 'create', 'lan', '--guard');
  const words = `vm create db linux-amd64 --memory 256M --output log --net lan --publish c:${port}:5432`;
  const start = 'quiet run="mount -t ext4 /dev/vda /mnt; sh /mnt/start"';
  await nodes.revenant(...words.split(' '), '--disk', disk, '--append', start);
  await until('the server', async () => {
    const question = ['-h', '127.0.0.1', '-p', port, '-t', '5', '-q'];
    return run('pg_isready', question).then(
      () => true,
      () => sleep(1000).then(() => false),
    );
  });
}

export interface Run {
  failovers: number;
  /** Where the disk is kept. */
  disk?: string | undefined;
  say: (line: string) => void;
}

export async function countThroughFailovers(options: Run): Promise<void> {
  const { failovers, say } = options;
  const nodes = await KillableNodes.prepare('postgres', 1024);
  let counter: Counter | undefined;
  try {
    const disk = diskIn(nodes.folder, options);
    await nodes.start();
    const port = String((await freePorts(1))[0]);
    say('waiting for the server');
    await createServer(nodes, disk, port);
    counter = new Counter(port);
    const backend = await counter.begin();
    for (let n = 1; n <= failovers; n++) {
      for (let counted = 0; counted < countsBetween; counted++) await counter.next();
      const before = counter.count;
      counter.longestMs = 0;
      const holder = await nodes.killHolder('db');
      for (let counted = 0; counted < countsBetween; counted++) await counter.next();
      const taker = await nodes.holder('db');
      assert.notEqual(taker, holder);
      say(
        `failover ${String(n)}: from ${holder} at count ${String(before)} to ${taker}; the client waited ${(counter.longestMs / 1000).toFixed(1)} s`,
      );
      await nodes.startAgain(holder);
    }
    assert.equal(await counter.ask('select pg_backend_pid()'), backend);
    say(
      `${String(counter.count)} counts over one connection, ${String(failovers)} failovers, none missing, none twice`,
    );
  } finally {
    counter?.close();
    await nodes.close();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { failovers: { type: 'string', default: '10' }, disk: { type: 'string' } },
  });
  const say = (line: string): void => {
    console.log(line);
  };
  await countThroughFailovers({ failovers: Number(values.failovers), disk: values.disk, say });
}
