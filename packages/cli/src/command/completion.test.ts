/** Completion scripts, asked by the shells themselves where they are installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { commands } from '../commands/index.ts';
import { completionScript, shellNames } from './completion.ts';

/** What bash offers for the words, the last of which is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const script = (await completionScript(commands, 'bash')) ?? '';
  const ask = `${script}
COMP_WORDS=(${['revenant', ...words].map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${String(words.length)}
_revenant; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', ask], { encoding: 'utf8' });
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

describe('completion', () => {
  test('offers commands, those below them, and options', async () => {
    assert.deepEqual(await offered('ru'), ['run']);
    assert.ok((await offered('vm', '')).includes('create'));
    assert.deepEqual(await offered('vm', 'create', 'web', '--memo'), ['--memory']);
    // A value that is named as a command is not taken for one where no command can stand.
    assert.ok((await offered('vm', 'create', 'run', '--')).includes('--memory'));
    assert.deepEqual(await offered('nothing', '--kern'), []);
  });

  for (const shell of shellNames) {
    const missing = spawnSync(shell, ['--version']).error !== undefined;
    test(`${shell} takes its script`, { skip: missing && `${shell} is not installed` }, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'revenant-completion-'));
      try {
        const file = join(folder, 'script');
        await writeFile(file, (await completionScript(commands, shell)) ?? '');
        const { stderr, status } = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
        assert.deepEqual([stderr, status], ['', 0]);
        if (shell !== 'fish') return;
        const ask = `source ${file}; complete -C 'revenant vm create web --memo'`;
        assert.match(spawnSync(shell, ['-c', ask], { encoding: 'utf8' }).stdout, /^--memory\t/);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }

  test('there is none for another shell', async () => {
    assert.equal(await completionScript(commands, 'constructor'), undefined);
  });
});
