/** Both engines start Linux instruction by instruction alike. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { buildModules } from '@revenant/emulator/host-node';
import { buildLinux, type Guest } from '../bench/guests.ts';
import { compareBoot } from './boot-compare.ts';

for (const cpuCount of [1, 4])
  test(
    `both engines take the same path through the start of Linux on ${cpuCount} processors`,
    { timeout: 1_800_000 },
    async (context) => {
      if (spawnSync('gcc', ['--version']).status !== 0) {
        context.skip('gcc is missing');
        return;
      }
      let guest: Guest;
      try {
        guest = await buildLinux([], 64);
      } catch (error) {
        context.skip(`the image can't be made here: ${(error as Error).message}`);
        return;
      }
      buildModules(() => undefined);
      const result = await compareBoot(guest, {
        every: 250_000n,
        hashEvery: 50_000_000n,
        instructions: 150_000_000n,
        hotThreshold: 500,
        dropOneIn: 100,
        lookEvery: 1500,
        cpuCount,
      });
      assert.equal(result.difference, undefined);
      assert.equal(result.comparisons, 600);
      assert.equal(result.hashes, 3);
    },
  );
