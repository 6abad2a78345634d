/** The line that says what a command is waiting for: on a terminal, and in a file. */
import { mock, test } from 'node:test';
import assert from 'node:assert/strict';
import { Waiting, waitingUntil } from './waiting.ts';

function waitFor(seconds: number, isTTY: boolean): string[] {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    const written: string[] = [];
    const waiting = new Waiting('web runs', {
      isTTY,
      write: (text: string | Uint8Array) => written.push(String(text)) > 0,
    });
    for (let i = 0; i < seconds; i++) mock.timers.tick(1000);
    waiting.done();
    return written;
  } finally {
    mock.timers.reset();
  }
}

test('what takes a moment is said by nobody', () => {
  assert.deepEqual(waitFor(1, true), []);
  assert.deepEqual(waitFor(9, false), []);
});

test('on a terminal a line counts the seconds and goes at the end', () => {
  assert.deepEqual(waitFor(3, true), [
    '\rwaiting until web runs (2 s)\x1b[K',
    '\rwaiting until web runs (3 s)\x1b[K',
    '\r\x1b[K',
  ]);
});

test('in a file it is one line, once', () => {
  assert.deepEqual(waitFor(30, false), ['revenant: waiting until web runs\n']);
});

test('the line goes whatever becomes of the work', async () => {
  mock.timers.enable({ apis: ['setInterval'] });
  const written: string[] = [];
  const stream = { isTTY: true, write: (text: string | Uint8Array) => written.push(String(text)) > 0 };
  try {
    const work = async (): Promise<never> => {
      mock.timers.tick(2000);
      return Promise.reject(new Error('no room'));
    };
    await assert.rejects(waitingUntil('it is in the store', work, stream), /no room/);
    mock.timers.tick(5000);
  } finally {
    mock.timers.reset();
  }
  assert.deepEqual(written, ['\rwaiting until it is in the store (2 s)\x1b[K', '\r\x1b[K']);
});
