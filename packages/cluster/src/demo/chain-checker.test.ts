/** The checker of the chain guest's output tells allowed repetitions from loss and damage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChainChecker } from './chain-checker.ts';

const rule = {
  first: '0',
  next: (before: string, step: number): string => (BigInt(`0x${before}`) + BigInt(step)).toString(16),
};

function lines(from: number, to: number, wrongAt?: number): Buffer {
  let digest = rule.first;
  let text = '';
  for (let step = 1; step <= to; step++) {
    digest = rule.next(digest, step);
    if (step >= from) text += `step ${String(step)} ${step === wrongAt ? 'bad' : digest}\n`;
  }
  return Buffer.from(text);
}

function check(...pieces: [Buffer, number][]): {
  steps: number;
  repeated: number;
  unheard: number;
  fault: string | undefined;
} {
  const checker = new ChainChecker(rule);
  for (const [bytes, epoch] of pieces) checker.hear(bytes, epoch);
  checker.finish(1000);
  return checker.state;
}

test('a resume may repeat, byte by byte', () => {
  assert.deepEqual(check([lines(1, 9), 1], [lines(6, 20), 2]), {
    steps: 20,
    repeated: 4,
    unheard: 0,
    fault: undefined,
  });
});

test('a line that its node did not finish is written again', () => {
  assert.deepEqual(check([lines(1, 9).subarray(0, -3), 1], [lines(9, 12), 2]).fault, undefined);
});

test('what was let out unheard before a resume is proved by the step after it', () => {
  const { steps, unheard, fault } = check([lines(1, 9), 1], [lines(13, 20), 3]);
  assert.deepEqual({ steps, unheard, fault }, { steps: 20, unheard: 3, fault: undefined });
  assert.match(check([lines(1, 9), 1], [lines(13, 20, 13), 3]).fault ?? '', /step 13 is wrong/);
});

test('lost, wrong and differing steps, and a jump within one epoch, are told apart', () => {
  assert.match(check([lines(1, 9), 1], [lines(11, 12), 1]).fault ?? '', /steps 10 to 10 are lost/);
  assert.match(check([lines(1, 9, 9), 1]).fault ?? '', /step 9 is wrong/);
  assert.match(check([lines(1, 9), 1], [lines(8, 9, 8), 2]).fault ?? '', /step 8 was repeated as bad/);
  assert.match(
    check([lines(1, 9), 1], [lines(5, 9), 1]).fault ?? '',
    /step 5 follows step 9 within one epoch/,
  );
});
