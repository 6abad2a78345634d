/**
 * Two resumes of one checkpoint become two guests: an unmodified Linux learns by the generation ID that it was forked, and reseeds its random
 * numbers; the same inputs make the same guest. Debian's standard kernel, as the cloud kernel is built without the driver.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { MachineInput, MachineSnapshot } from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import { boot, bootInstructions, imageOrSkip, optionalDrivers, resume, type Shell } from './shell.ts';

const reseeded = /crng reseeded due to virtual machine fork/;
const random = 'head -c 32 /dev/urandom | sha256sum';
/** Behind the bytes that the driver had asked for before the checkpoint. */
const randomHardware = 'head -c 1024 /dev/hwrng | tail -c 32 | sha256sum';

/** What a resume with these inputs sees of its random numbers, and of the kernel's log. */
async function live(snapshot: MachineSnapshot, inputs: readonly MachineInput[], command = random) {
  const shell = await resume(snapshot);
  for (const input of inputs) assert.equal(shell.machine.input(input), 'taken');
  shell.type('sleep 1');
  return { numbers: shell.type(command), log: shell.type('dmesg | tail -n 3'), shell };
}

const generation = (value: bigint): MachineInput => ({ kind: 'generation', generation: value });
const entropy = (value: number): MachineInput => ({ kind: 'entropy', bytes: new Uint8Array(32).fill(value) });

describe('a second life', { timeout: 1_800_000 }, () => {
  before(() => {
    buildModules(() => undefined);
  });

  test('Linux reseeds after a change of the generation ID, and draws other numbers in each life', async (context) => {
    const image = await imageOrSkip(context, 'linux-amd64');
    if (image === undefined) return;
    const shell: Shell = await boot(image, {
      description: { devices: ['virtio-rng', 'vmgenid', 'vmclock'] },
    });
    shell.waitFor(/# /, bootInstructions);
    optionalDrivers(shell);
    const devices = shell.type('cat /sys/bus/acpi/devices/*/path').split(/\s+/);
    assert.ok(devices.includes('\\_SB_.VGEN') && devices.includes('\\_SB_.VCLK'), devices.join(' '));
    assert.match(shell.type('cat /sys/class/misc/hw_random/rng_current'), /^virtio_rng/m);
    const snapshot = shell.machine.snapshot({ full: true });

    const [first, second, again, none, alsoNone] = [
      await live(snapshot, [generation(1n)]),
      await live(snapshot, [generation(2n)]),
      await live(snapshot, [generation(1n)]),
      await live(snapshot, []),
      await live(snapshot, []),
    ];
    for (const one of [first, second]) assert.match(one.log, reseeded);
    assert.doesNotMatch(none.log, reseeded);
    assert.equal(none.numbers, alsoNone.numbers, 'without a change both lives are one');
    assert.notEqual(first.numbers, second.numbers);
    assert.notEqual(first.numbers, none.numbers);
    assert.equal(first.numbers, again.numbers, 'a replay draws the same');
    assert.equal(first.shell.machine.stateHash(), again.shell.machine.stateHash());

    const [one, other] = [
      await live(snapshot, [entropy(1)], randomHardware),
      await live(snapshot, [entropy(2)], randomHardware),
    ];
    assert.notEqual(one.numbers, other.numbers, 'the host stirs the entropy device');
  });
});
