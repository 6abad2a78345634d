import { test } from 'node:test';
import assert from 'node:assert/strict';
import { checkChain, sha256Chain } from './chain.ts';

function chain(steps: number): string[] {
  let digest = sha256Chain.first;
  return Array.from({ length: steps }, (_, i) => {
    digest = sha256Chain.next(digest, i + 1);
    return `step ${i + 1} ${digest}`;
  });
}

test('a whole chain between other lines passes, an unfinished last line is left out', () => {
  const lines = ['booting', ...chain(5), 'noise'];
  assert.deepEqual(checkChain(`${lines.join('\r\n')}\r\nstep 6 abc`, sha256Chain), { steps: 5 });
});

test('lost, repeated and wrong steps are told apart', () => {
  const lines = chain(6);
  const without = (n: number): string[] => lines.filter((_, i) => i !== n);
  assert.match(checkChain(`${without(2).join('\n')}\n`, sha256Chain).fault ?? '', /steps 3 to 3 are lost/);
  assert.match(
    checkChain(`${[...lines, lines[3]].join('\n')}\n`, sha256Chain).fault ?? '',
    /step 4 is repeated/,
  );
  const wrong = lines.map((line, i) => (i === 4 ? line.replace(/.$/, (c) => (c === '0' ? '1' : '0')) : line));
  const verdict = checkChain(`${wrong.join('\n')}\n`, sha256Chain);
  assert.equal(verdict.steps, 4);
  assert.match(verdict.fault ?? '', /step 5 is wrong/);
});
