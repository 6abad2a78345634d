/** What a person names a cluster by, and VMs of it that never were, is refused in one line before or after it is asked. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dispatch } from '../command/dispatch.ts';
import { commands } from '../commands/index.ts';
import { ExitCode } from '../errors.ts';
import { asCliError } from '../failures.ts';

let folder = '';
const saved = { ...process.env };
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-connect-'));
  delete process.env['REVENANT_STORE'];
  delete process.env['REVENANT_NODE'];
  await dispatch(commands, ['store', 'init', `file:${folder}/store`]);
});
after(async () => {
  process.env = saved;
  await rm(folder, { recursive: true, force: true });
});

const refused = (line: string[], exitCode: ExitCode, message: RegExp): Promise<void> =>
  assert.rejects(dispatch(commands, line), (error) => {
    const known = asCliError(error);
    assert.match(known.message, message);
    if (exitCode !== ExitCode.unreachable) assert.notEqual(known.hint, undefined);
    return known.exitCode === exitCode;
  });

test('a node is named by host and port', async () => {
  for (const node of [
    'localhost',
    '127.0.0.1',
    'https://host',
    'host:',
    'host:0',
    'host:65536',
    'host:x',
    '::1',
    'http://host:7001',
    ':7001',
    'a b:1',
    'host:7001/v1',
  ])
    await refused(['vm', 'list', '--node', node], ExitCode.usage, /is no address of a node/);
  // Those are asked, and nobody answers.
  for (const node of ['127.0.0.1:1', 'https://127.0.0.1:1', '[::1]:1', 'localhost:1'])
    await refused(['vm', 'list', '--node', node], ExitCode.unreachable, /answer/);
});

test('events of a VM that never was are refused', async () => {
  await refused(
    ['vm', 'events', 'nobody', '--store', `file:${folder}/store`],
    ExitCode.refused,
    /there is no VM nobody/,
  );
});
