/**
 * Real clients of a guest of the policy `log`, entered by a living node, while the nodes that run the guest are killed:
 *
 *     node test/network/through-failovers.ts --megabytes 1024 --files 2000 --kills 3
 *
 * `--only download,small` leaves out the others. wget gets a file with its checksum over one connection; iperf3 sends to the guest and from it; many small files are fetched, each by a
 * connection of its own. Nothing may fail, and nothing is tried twice. Wants wget, iperf3 and the image linux-server.
 */
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { createServer, iperf, longDownload, smallDownloads, type Client } from './clients.ts';
import { KillableNodes } from './killable-nodes.ts';

export interface Sizes {
  /** Of the long download, and of each way of iperf3. */
  megabytes: number;
  /** Small downloads. */
  files: number;
  /** Nodes that are killed under each of the four clients. */
  kills: number;
  /** Which of them, in this order. */
  only?: readonly ClientName[];
}

const clientNames = ['download', 'from', 'to', 'small'] as const;
type ClientName = (typeof clientNames)[number];

/** Kills the guest's node so often while a client goes on, evenly over what the client wants, and says how long it stood still at most. */
async function killUnder(
  nodes: KillableNodes,
  { title, progress, ended }: Client,
  { all, kills, say }: { all: number; kills: number; say: (line: string) => void },
): Promise<void> {
  let over = false;
  const end = ended.finally(() => (over = true));
  end.catch(() => undefined);
  for (let n = 1; n <= kills; n++) {
    await until(`${title}: its part`, () => over || progress() >= (all * n) / (kills + 1));
    if (over) await end;
    assert.ok(!over, `${title} had ended before node ${String(n)} was killed`);
    const before = progress();
    const holder = await nodes.killHolder('web');
    const killedMs = performance.now();
    // What was under way still comes: it goes on once somebody else runs the guest.
    const taken = until(`${title}: a takeover`, async () => (await nodes.holder('web')) !== holder);
    await Promise.all([taken, until(`${title}: more`, () => over || progress() > before + all / 100)]);
    const seconds = ((performance.now() - killedMs) / 1000).toFixed(1);
    say(
      `${title}: kill -9 of ${holder} at ${((100 * before) / all).toFixed(0)} %, it goes on after ${seconds} s`,
    );
    await nodes.startAgain(holder);
  }
  say(await end);
}

export async function throughFailovers(sizes: Sizes, say: (line: string) => void): Promise<void> {
  const { megabytes, files, kills, only = clientNames } = sizes;
  const sinceMs = Date.now();
  const nodes = await KillableNodes.prepare('clients', 1024);
  try {
    await nodes.start();
    const server = await createServer(nodes, { megabytes, files: 64 });
    say('the guest has its files');
    const bytes = megabytes * 2 ** 20;
    const clients = {
      download: { all: bytes, begin: () => longDownload(server, megabytes) },
      from: { all: bytes, begin: () => iperf(server, megabytes, 'from') },
      to: { all: bytes, begin: () => iperf(server, megabytes, 'to') },
      small: { all: files, begin: () => smallDownloads(server, files) },
    };
    for (const name of only) {
      const { all, begin } = clients[name];
      await killUnder(nodes, begin(), { all, kills, say });
    }
  } catch (error) {
    for (const { event, vm, node, reason } of await nodes.client.events({ sinceMs }).catch(() => []))
      say(`${event} ${vm ?? ''} ${node ?? ''}: ${reason}`);
    throw error;
  } finally {
    await nodes.close();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      megabytes: { type: 'string', default: '1024' },
      files: { type: 'string', default: '2000' },
      kills: { type: 'string', default: '3' },
      only: { type: 'string', default: clientNames.join() },
    },
  });
  const { megabytes, files, kills } = values;
  const only = clientNames.filter((name) => values.only.split(',').includes(name));
  const began = performance.now();
  await throughFailovers(
    { megabytes: Number(megabytes), files: Number(files), kills: Number(kills), only },
    (line) => {
      console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${line}`);
    },
  );
}
