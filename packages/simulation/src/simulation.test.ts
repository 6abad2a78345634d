import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mutations } from './mutations.ts';
import { simulate } from './simulate.ts';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const root = here('../../../');

test('no seed violates an invariant', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { violation } = simulate(seed);
    assert.equal(
      violation,
      undefined,
      `seed ${String(seed)}: node packages/simulation/src/run.ts --seed ${String(seed)} --trace`,
    );
  }
});

test('a seed replays exactly', () => {
  const digest = (): string | undefined => simulate(29, () => undefined).digest;
  assert.equal(digest(), digest());
  assert.notEqual(digest(), simulate(30, () => undefined).digest);
});

test('every mutation names text that occurs once', () => {
  for (const { name, file, find } of mutations) {
    const occurrences = readFileSync(root + file, 'utf8').split(find).length - 1;
    assert.equal(occurrences, 1, name);
  }
});

for (const { name, removes } of mutations) {
  test(`the simulation notices when this is gone: ${removes}`, () => {
    const result = spawnSync(
      process.execPath,
      ['--import', here('mutate.ts'), here('run.ts'), '--seeds', '2000'],
      { cwd: root, env: { ...process.env, REVENANT_MUTATION: name }, encoding: 'utf8' },
    );
    assert.match(
      result.stdout,
      /^seed \d+: (still-runs|one-owner|never-returns|durable-lost|acknowledged|liveness|healthy-fenced)/m,
      result.stderr,
    );
    assert.equal(result.status, 1);
  });
}
