/** The bare-metal guests: what they print on our processor is what the manual says, and what QEMU prints. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import type { EngineKind } from '../../packages/emulator/src/engine/engine.ts';
import { requireToolsInCi } from '../native/toolchain.ts';
import { BareMachine } from './bare-machine.ts';
import {
  assembleGuest,
  assemblerMissing,
  comparableWithQemu,
  expectedOutput,
  lines,
  qemuMissing,
  runInQemu,
} from './guest.ts';

const guests = [
  'faults32',
  'limits32',
  'paging32',
  'gates32',
  'debug32',
  'vme32',
  'nested32',
  'long64',
  'protect64',
  'manual64',
];
/** Guests about what QEMU's TCG does not do; some of their tests would stop it. */
const notForQemu = new Set(['limits32', 'vme32', 'manual64']);
const instructionLimit = 20_000_000n;

requireToolsInCi(['as', 'qemu-system-x86_64']);

async function runHere(
  name: string,
  kind: EngineKind,
): Promise<{ output: string[]; end: string; instructions: bigint }> {
  // Translated at the first entry.
  const machine = await BareMachine.create(kind, 1);
  let text = '';
  machine.onByte = (byte) => {
    text += String.fromCharCode(byte);
  };
  machine.load(readFileSync(assembleGuest(name)));
  const { end, instructions } = machine.run(instructionLimit);
  return { output: lines(text), end, instructions };
}

describe('bare-metal guests', { skip: assemblerMissing() }, () => {
  for (const name of guests) {
    test(`${name} sees what the manual says, in both engines alike`, async () => {
      const interpreted = await runHere(name, 'interpreter');
      assert.deepEqual(interpreted.output, expectedOutput(name));
      assert.equal(interpreted.end, 'exit');
      assert.deepEqual(await runHere(name, 'translator'), interpreted);
    });

    test(
      `${name} sees the same in QEMU`,
      { skip: notForQemu.has(name) ? 'about what TCG does not do' : qemuMissing() },
      () => {
        const { expected, qemu } = comparableWithQemu(
          expectedOutput(name),
          runInQemu(name, assembleGuest(name)),
        );
        assert.deepEqual(qemu, expected);
      },
    );
  }
});
