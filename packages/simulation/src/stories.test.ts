/**
 * Golden transcripts of the commonest stories. After a change of what is decided: REVENANT_GOLDEN=write node --test packages/simulation/src/stories.test.ts
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { retell } from './story.ts';

const folder = join(import.meta.dirname, 'stories');
const rewrites = process.env['REVENANT_GOLDEN'] === 'write';

for (const name of readdirSync(folder).sort())
  test(`the story of ${name.replace('.txt', '')} goes as it is told`, () => {
    const path = join(folder, name);
    const text = readFileSync(path, 'utf8');
    const told = retell(text);
    if (rewrites) writeFileSync(path, told);
    else assert.equal(told, text);
  });

test('a story that goes otherwise is noticed', () => {
  const text = readFileSync(join(folder, 'kill-the-owner.txt'), 'utf8');
  assert.notEqual(retell(text.replace('kill b', 'freeze c')), text);
});
