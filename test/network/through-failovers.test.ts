/** wget, iperf3 and many small downloads go on while nodes are killed: the short form of through-failovers.ts. Needs the image linux-server. */
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { imageOrSkip } from '../linux/shell.ts';
import { throughFailovers } from './through-failovers.ts';

it('what real clients fetch and send arrives whole, by the connections that they began with, through kill -9', async (context) => {
  const missing = ['wget', 'iperf3'].find((name) => spawnSync(name, ['--version']).status !== 0);
  if (missing !== undefined) {
    context.skip(`needs ${missing}`);
    return;
  }
  if ((await imageOrSkip(context, 'linux-server')) === undefined) return;
  await throughFailovers({ megabytes: 16, files: 40, kills: 1 }, (line) => {
    context.diagnostic(line);
  });
});
