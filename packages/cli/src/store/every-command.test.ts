/** Of all commands that take a store, whatever they do with it, none but `node` and `store init` makes one. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Group } from '../command/command.ts';
import { dispatch } from '../command/dispatch.ts';
import { commands } from '../commands/index.ts';
import { ExitCode } from '../errors.ts';
import { asCliError } from '../failures.ts';

let folder = '';
const saved = { ...process.env };
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-every-'));
  delete process.env['REVENANT_STORE'];
  delete process.env['REVENANT_NODE'];
});
after(async () => {
  process.env = saved;
  await rm(folder, { recursive: true, force: true });
});

interface Found {
  path: string;
  required: number;
}

/** Every command that knows --store. */
async function takingStore({ commands }: Group, before = ''): Promise<Found[]> {
  const found: Found[] = [];
  for (const [name, listed] of Object.entries(commands)) {
    const path = `${before}${name}`;
    if (!('load' in listed)) {
      found.push(...(await takingStore(listed, `${path} `)));
      continue;
    }
    const { options, words } = (await listed.load()).command;
    if ('store' in options)
      found.push({ path, required: words.filter((word) => !word.startsWith('[')).length });
  }
  return found;
}

test(
  'no command but node and store init makes a store, also none that writes',
  { timeout: 1_800_000 },
  async (t) => {
    const file = join(folder, 'some.checkpoint');
    await writeFile(file, 'no checkpoint');
    const disk = join(folder, 'disk.img');
    await writeFile(disk, Buffer.alloc(1 << 20));
    // Words of those that need more than a name.
    const words: Record<string, string[][]> = {
      'vm create': [
        ['web', 'builtin'],
        ['web', 'builtin', '--disk', disk],
        ['web', 'builtin', '--disk-size', '1M', '--no-start'],
      ],
      'vm migrate': [['web', '--to', 'b']],
      'vm snapshot': [
        ['web', 'before'],
        ['web', 'before', '--delete'],
      ],
      'vm revert': [['web', 'before']],
      'vm backup': [['web', `file:${join(folder, 'target')}`]],
      'vm restore': [['web', `file:${join(folder, 'backup')}`]],
      'vm send-key': [['web', 'Enter']],
      'vm insert': [['web', 'cdrom', 'disc.iso']],
      'vm eject': [['web', 'cdrom']],
      'checkpoint import': [
        [file, 'web'],
        [file, 'web', '--take-over'],
      ],
      'checkpoint export': [['web', join(folder, 'out.checkpoint')]],
      'checkpoint search': [['web', 'text']],
      'checkpoint disassemble': [['web', '0x1000']],
      'checkpoint memory': [['web', '0x1000']],
      'debug gdb': [['--restore', 'web'], ['web']],
      'debug trace': [['--io', '--restore', 'web']],
      'vm copy': [[file, 'web:/tmp/file']],
      'vm set': [['web', '--output', 'log']],
      'debug hot': [],
      run: [['--restore', 'web']],
    };
    const places = { missing: join(folder, 'typo'), empty: join(folder, 'empty') };
    await mkdir(places.empty);
    const found = await takingStore(commands);
    const writers = ['vm create', 'vm delete', 'checkpoint import', 'checkpoint gc', 'cluster drain'];
    for (const path of writers)
      assert.ok(
        found.some((each) => each.path === path),
        path,
      );
    for (const { path, required } of found.filter((each) => each.path !== 'node'))
      for (const given of words[path] ?? [Array.from({ length: required }, () => 'web')])
        for (const place of Object.values(places))
          await t.test(`${path} ${given.join(' ')}`, async () => {
            const line = [...path.split(' '), ...given, '--store', `file:${place}`];
            await assert.rejects(dispatch(commands, line), (error) => {
              const { exitCode, message, hint } = asCliError(error);
              assert.match(message, /^there is no store at file:/);
              assert.match(hint ?? '', /store init/);
              return exitCode === ExitCode.badInput;
            });
          });
    assert.ok(!existsSync(places.missing));
    assert.deepEqual(await readdir(places.empty), []);
  },
);
