/** Linux's virtio drivers use MSI-X where the machine has it: a message for each queue, and no look at the ISR status. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { OptionalDevice } from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import type { Image } from '../../packages/cli/src/images/image.ts';
import { boot, bootInstructions, imageOrSkip, optionalDrivers, resume, type Shell } from './shell.ts';

const diskBytes = 4 * 2 ** 20;
const read = 'dd if=/dev/vda of=/dev/null bs=4096 iflag=direct 2>/dev/null';
const interrupts = "grep -E 'virtio' /proc/interrupts";

async function guest(image: Image, devices: OptionalDevice[]): Promise<Shell> {
  const shell = await boot(image, {
    requests: [{ name: 'disk0', bytes: diskBytes }],
    description: { devices },
  });
  shell.waitFor(/# /, bootInstructions);
  optionalDrivers(shell);
  return shell;
}

describe('interrupts of virtio cards', { timeout: 1_800_000 }, () => {
  before(() => {
    buildModules(() => undefined);
  });

  test('by messages, also in a guest that was resumed in the middle of its work; by the line without MSI-X', async (context) => {
    const image = await imageOrSkip(context, 'linux-amd64');
    if (image === undefined) return;
    const byLine = await guest(image, ['virtio-rng']);
    assert.match(byLine.type(interrupts), /IO-APIC.*virtio/);

    const shell = await guest(image, ['msi-x', 'virtio-rng']);
    const count = (text: string): number => Number(/(\d+)\s+PCI-MSI.*virtio0-req/.exec(text)?.[1]);
    const earlier = count(shell.type(interrupts));
    shell.machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode(`${read}\n`) });
    shell.machine.run({ instructions: 3_000_000 });
    const lives = [shell, await resume(shell.machine.snapshot({ full: true }))];
    const seen = lives.map((one) => {
      one.machine.run({ instructions: 200_000_000 });
      const text = one.type(interrupts);
      assert.doesNotMatch(text, /IO-APIC.*virtio/);
      assert.ok(count(text) - earlier >= diskBytes / 4096, text);
      return one.machine.stateHash();
    });
    assert.equal(seen[0], seen[1]);
  });
});
