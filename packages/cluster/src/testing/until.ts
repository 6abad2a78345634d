/** Waits, for tests, until something holds: so long that a host with twenty times too much to do gets there. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

const tries = 6000;
const pauseMs = 50;

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < tries; i++) {
    if (await holds()) return;
    await sleep(pauseMs);
  }
  assert.fail(`waited in vain for ${what}`);
}
