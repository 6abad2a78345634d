/**
 * Real clients of a guest in a cluster: wget, iperf3, and many of wget at a time. Each is started once and goes on while nodes die; what it
 * says at its end is what counts. The guest is `linux-server`; see `createServer`.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import type { KillableNodes } from './killable-nodes.ts';

export const mebibyte = 2 ** 20;
/** Of a part of the long file: its number, then random bytes that are the same in all parts. */
const partBytes = 4 * mebibyte;
const numberBytes = 8;
/** A failover on a busy host takes less. */
const patienceSeconds = 300;
const atOneTime = 8;

type Direction = 'to' | 'from';

/** Where the guest's ports are on this host. */
export interface Server {
  web: string;
  long: string;
  /** A server for each way: one ends its listening socket after each test, and whoever is in its queue then is reset (findings/iperf3-server-resets-who-comes-next.sh). */
  iperf: Readonly<Record<Direction, string>>;
  /** Of the files that it serves: their checksums by their names. */
  sums: ReadonlyMap<string, string>;
  part: Uint8Array;
}

/**
 * What the guest does. A file that is longer than its memory is made while it is fetched: its parts are the same bytes, each behind its own
 * number, so that one which is lost or comes twice is seen.
 */
const guestScript = (parts: number, files: number): string => `
cat >/srv/long <<'END'
while read -r line && [ \${#line} -gt 1 ]; do :; done
printf 'HTTP/1.0 200 OK\\r\\nContent-Length: ${String(parts * partBytes)}\\r\\n\\r\\n'
n=0
while [ $n -lt ${String(parts)} ]; do printf %08d $n; cat /srv/www/part; n=$((n + 1)); done
END
cd /srv/www
head -c ${String(partBytes - numberBytes)} /dev/urandom >part
n=0
while [ $n -lt ${String(files)} ]; do head -c $((n * 397)) part >f$n; n=$((n + 1)); done
sha256sum part f* >/srv/sums
nc -ll -p 81 -e sh /srv/long &
iperf3 -s -p 5202 >/dev/null &
mv /srv/sums told
sleep 100000
`;

/** A guest of the policy `log`, entered by node c; it is there when its files are. */
export async function createServer(
  nodes: KillableNodes,
  { megabytes, files }: { megabytes: number; files: number },
): Promise<Server> {
  const ports = (await freePorts(4)).map(String);
  const [web = '', long = '', to = '', from = ''] = ports;
  await nodes.revenant('network', 'create', 'lan', '--guard');
  const places = [`c:${web}:80`, `c:${long}:81`, `c:${to}:5201`, `c:${from}:5202`];
  const publish = places.flatMap((place) => ['--publish', place]);
  const words = 'vm create web linux-server --output log --net lan'.split(' ');
  const script = Buffer.from(guestScript(partsOf(megabytes), files)).toString('base64');
  await nodes.revenant(...words, ...publish, '--append', `quiet run="echo ${script} | base64 -d | sh"`);
  let told = '';
  await until('the files of the guest', async () => {
    told = await wget(`http://127.0.0.1:${web}/told`, 2).then(String, () => '');
    return told !== '';
  });
  const sums = new Map(
    [...told.matchAll(/^([0-9a-f]{64}) {2}(\S+)$/gm)].map(([, sum = '', name = '']) => [name, sum]),
  );
  assert.equal(sums.size, files + 1);
  const part = await wget(`http://127.0.0.1:${web}/part`);
  assert.equal(digest(part), sums.get('part'));
  return { web, long, iperf: { to, from }, sums, part };
}

const partsOf = (megabytes: number): number => Math.ceil((megabytes * mebibyte) / partBytes);
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function startWget(url: string, seconds: number): ChildProcessByStdio<null, Readable, Readable> {
  const words = ['-nv', '--tries=1', `--timeout=${String(seconds)}`, '-O', '-', url];
  return spawn('wget', words, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What one wget gets, which connects once. */
async function wget(url: string, seconds = patienceSeconds): Promise<Buffer> {
  const child = startWget(url, seconds);
  const [pieces, words]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (data: Buffer) => pieces.push(data));
  child.stderr.on('data', (data: Buffer) => words.push(data));
  const [status] = (await once(child, 'close')) as [number];
  if (status !== 0) throw new Error(`wget ended with ${String(status)}: ${Buffer.concat(words).toString()}`);
  return Buffer.concat(pieces);
}

/** A client that goes on until it has all it wants: `progress` grows meanwhile. */
export interface Client {
  readonly title: string;
  readonly progress: () => number;
  /** Resolves to what is to be said; rejects when it failed. */
  readonly ended: Promise<string>;
}

/** One wget of a long file, over one connection. */
export function longDownload({ long, part }: Server, megabytes: number): Client {
  const child = startWget(`http://127.0.0.1:${long}/`, patienceSeconds);
  const hash = createHash('sha256');
  let received = 0;
  child.stdout.on('data', (data: Buffer) => {
    received += data.length;
    hash.update(data);
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  const wanted = createHash('sha256');
  const parts = partsOf(megabytes);
  for (let n = 0; n < parts; n++) wanted.update(String(n).padStart(numberBytes, '0')).update(part);
  const end = async (): Promise<string> => {
    const [status] = (await once(child, 'close')) as [number];
    assert.equal(status, 0, words);
    assert.equal(received, parts * partBytes);
    assert.equal(hash.digest('hex'), wanted.digest('hex'));
    return `${(received / mebibyte).toFixed(0)} MiB by wget over one connection: the checksum is right`;
  };
  return { title: 'a long download', progress: () => received, ended: end() };
}

/** Small files, `atOneTime` of them at any moment, each by a wget and a connection of its own. */
export function smallDownloads({ web, sums }: Server, count: number): Client {
  const names = [...sums.keys()].filter((name) => name !== 'part');
  let [begun, done] = [0, 0];
  const one = async (): Promise<void> => {
    while (begun < count) {
      const name = names[begun++ % names.length]!;
      assert.equal(digest(await wget(`http://127.0.0.1:${web}/${name}`)), sums.get(name), name);
      done++;
    }
  };
  const all = async (): Promise<string> => {
    await Promise.all(Array.from({ length: atOneTime }, one));
    return `${String(done)} small downloads, each by a connection of its own: none failed, every checksum is right`;
  };
  return { title: 'small downloads', progress: () => done, ended: all() };
}

const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** iperf3 for so many MiB, to the guest or from it, over one connection (and the one by which both ends agree). */
export function iperf({ iperf: ports }: Server, megabytes: number, direction: Direction): Client {
  const reverse = ['--reverse', '--rcv-timeout', String(patienceSeconds * 1000)];
  const words = [
    '-c',
    '127.0.0.1',
    '-p',
    ports[direction],
    '-n',
    `${String(megabytes)}M`,
    '--forceflush',
    '-i',
    '0.2',
  ];
  const child = spawn('iperf3', [...words, ...(direction === 'from' ? reverse : [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [said, received] = ['', 0];
  let summary = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  createInterface(child.stdout).on('line', (line) => {
    said += `${line}\n`;
    const [, amount, unit = ''] = /sec +([\d.]+) ([KMG]?)Bytes/.exec(line) ?? [];
    if (amount === undefined) return;
    if (line.endsWith('receiver')) summary = line.replace(/^\[.*?\] +/, '');
    else if (!line.endsWith('sender')) received += Number(amount) * units[unit]!;
  });
  const end = async (): Promise<string> => {
    const [status] = (await once(child, 'close')) as [number];
    assert.equal(status, 0, said);
    assert.match(said, /iperf Done/);
    assert.equal([...said.matchAll(/connected to/g)].length, 1, said);
    // What is under way at the end nobody counts; all else arrived. iperf3 prints three digits.
    assert.ok(received >= 0.99 * megabytes * mebibyte, said);
    assert.notEqual(summary, '', said);
    return `iperf3 ${direction} the guest, ${String(megabytes)} MiB: ${summary}`;
  };
  return { title: `iperf3 ${direction} the guest`, progress: () => received, ended: end() };
}
