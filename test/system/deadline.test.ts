/** The TSC deadline, whose writes the core keeps from the machine while they can wait: nothing of that may be seen. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { pcMemoryMap, planKernel } from '../../packages/emulator/src/boot/index.ts';
import { buildModules } from '../../packages/emulator/src/build.ts';
import type { EngineKind } from '../../packages/emulator/src/engine/engine.ts';
import { makeNodeEngine } from '../../packages/emulator/src/host-node/engine.ts';
import { createMachine } from '../../packages/emulator/src/machine/create.ts';
import { requireToolsInCi } from '../native/toolchain.ts';
import { assembleGuest, assemblerMissing } from './guest.ts';

requireToolsInCi(['as']);
const memoryBytes = 32 * 2 ** 20;
const limit = 20_000_000n;

/** What the guest prints and when it ends, run in pieces of so many instructions. */
async function run(kind: EngineKind, piece: bigint): Promise<{ text: string; instructions: bigint }> {
  let text = '';
  const machine = await createMachine({
    description: { memoryBytes, debugExitPort: 0xf4 },
    engine: makeNodeEngine({ kind }),
    backends: {
      debugConsole: (_port, byte) => {
        text += String.fromCharCode(byte);
      },
    },
  });
  const kernel = readFileSync(assembleGuest('deadline'));
  machine.boot(planKernel({ kernel, longMode: true }, { memoryMap: pcMemoryMap(memoryBytes) }));
  while (machine.instructions < limit) {
    const { reason } = machine.run({ instructions: piece });
    if (reason === 'debugExit') return { text, instructions: machine.instructions };
    assert.equal(reason, 'limit');
  }
  assert.fail(`the guest did not end: ${text}`);
}

describe('the TSC deadline', { skip: assemblerMissing() }, () => {
  test('interrupts come at their deadlines, in both engines and however the run is cut', async () => {
    buildModules(() => undefined);
    const whole = await run('translator', limit);
    assert.deepEqual(whole.text.split('\n'), [
      ...[
        'nearer at',
        'farther at',
        'disarmed none',
        'past at',
        'halted at',
        'moved-tsc at',
        'read at',
        'mode none',
        '',
      ],
    ]);
    assert.deepEqual(await run('translator', 997n), whole);
    assert.deepEqual(await run('interpreter', limit), whole);
    assert.deepEqual(await run('interpreter', 1009n), whole);
  });
});
