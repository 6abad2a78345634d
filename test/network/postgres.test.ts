/** psql counts over one connection while the node that runs its server is killed: the short form of postgres.ts. */
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { imageOrSkip } from '../linux/shell.ts';
import { countThroughFailovers } from './postgres.ts';

it('PostgreSQL counts on over the connection that it has, none missing and none twice, through kill -9', async (context) => {
  const programs = ['psql', 'pg_isready', 'apt-get', 'dpkg-deb', 'mke2fs', 'unshare'];
  const missing = programs.find((name) => spawnSync(name, ['--version']).error !== undefined);
  // Made by root on the host the data base is there at once; a guest takes minutes for it.
  if (missing !== undefined || process.getuid?.() !== 0) {
    context.skip(`needs ${missing ?? 'root'}`);
    return;
  }
  if ((await imageOrSkip(context, 'linux-amd64')) === undefined) return;
  await countThroughFailovers({
    failovers: 1,
    say: (line) => {
      context.diagnostic(line);
    },
  });
});
