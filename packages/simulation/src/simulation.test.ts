/** The simulated cluster holds its invariants, and notices each rule that is taken away. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { mutations } from './mutations.ts';
import { simulate } from './simulate.ts';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const root = here('../../../');
const program = 'test/simulation/main.ts';
const run = promisify(execFile);

test('10,000 seeds violate no invariant', async () => {
  const share = async (first: number): Promise<void> => {
    const words = [program, '--first', String(first), '--seeds', '5000'];
    const { stdout, stderr } = await run(process.execPath, words, { cwd: root }).catch(
      (error: unknown) => error as { stdout: string; stderr: string },
    );
    const replay = `a seed again: node ${program} --seed N --trace`;
    assert.match(
      stdout,
      /^5000 seeds, \d+ takeovers, 0 violations.*, [1-9]\d{2,} moves that even out/m,
      `${stdout}${stderr}${replay}`,
    );
  };
  await Promise.all([share(1), share(5001)]);
});

test('nor do 400 seeds that look at outputs', async () => {
  const words = [program, '--seeds', '400', '--outputs'];
  const { stdout } = await run(process.execPath, words, { cwd: root }).catch(
    (error: unknown) => error as { stdout: string },
  );
  const counts =
    /^400 seeds, .* 0 violations, (\d+) outputs .*, (\d+) takeovers .*, (\d+) frames and (\d+) ended/m.exec(
      stdout,
    ) ?? [];
  const [outputs = 0, leads = 0, frames = 0, ended = 0] = counts.slice(1).map(Number);
  assert.ok(outputs > 50_000 && leads > 20 && frames > 20_000 && ended > 20, stdout);
});

test('nor do seeds that once did', () => {
  // A standby led, ended before the store had what it led with, and was made anew from the store.
  for (const seed of [9905]) assert.equal(simulate(seed, undefined, true).violation, undefined);
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

for (const { name, removes, ofOutputs, from = 1 } of mutations) {
  test(`the simulation notices when this is gone: ${removes}`, () => {
    const which = ofOutputs === true ? ['--outputs'] : [];
    const words = [
      '--import',
      here('mutate.ts'),
      program,
      '--first',
      String(from),
      '--seeds',
      '2000',
      ...which,
    ];
    const result = spawnSync(process.execPath, words, {
      cwd: root,
      env: { ...process.env, REVENANT_MUTATION: name },
      encoding: 'utf8',
    });
    assert.match(
      result.stdout,
      /^seed \d+: (still-runs|one-owner|never-returns|durable-lost|unreadable|acknowledged|liveness|healthy-fenced|output-changed|taken-back|told-needlessly|passed-by|stalled|ended-needlessly|ping-pong|balance-in-trouble|fault)/m,
      result.stderr,
    );
    assert.equal(result.status, 1);
  });
}
