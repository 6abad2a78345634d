/** Linux with a virtio console and channel, a balloon, and a port for its panic, each used by Debian's own drivers. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { Machine, OptionalDevice, StampedOutput } from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import { boot, bootInstructions, imageOrSkip, optionalDrivers, resume, type Shell } from './shell.ts';

const devices: OptionalDevice[] = ['msi-x', 'virtio-console', 'virtio-balloon', 'pvpanic'];
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function until(machine: Machine, what: string, done: () => boolean): void {
  const end = machine.instructions + 1_000_000_000n;
  while (!done()) {
    machine.run({ instructions: 2_000_000 });
    assert.ok(machine.instructions < end, `${what} does not happen`);
  }
}

/** What came by the console and the channel. */
function listen(outputs: StampedOutput[], port: number): () => string {
  return () =>
    outputs
      .map(({ output }) =>
        output.kind === 'console' && output.port === port ? new TextDecoder().decode(output.bytes) : '',
      )
      .join('');
}

describe('paravirtual devices', { timeout: 1_800_000 }, () => {
  before(() => {
    buildModules(() => undefined);
  });

  test('a shell on hvc0, a channel by name, a balloon, all through a checkpoint; a panic is reported', async (context) => {
    const image = await imageOrSkip(context, 'linux-cloud');
    if (image === undefined) return;
    const outputs: StampedOutput[] = [];
    const shell = await boot(image, { description: { devices }, append: 'panic=-1 agent=true', outputs });
    shell.waitFor(/# /, bootInstructions);
    optionalDrivers(shell);
    assert.match(shell.type('cat /sys/class/virtio-ports/*/name'), /^org\.revenant\.agent$/m);

    shell.type("(setsid sh -c 'exec sh -l <>/dev/hvc0 >&0 2>&1' &)");
    const channel = '/dev/$(grep -l revenant /sys/class/virtio-ports/*/name | cut -d/ -f5)';
    shell.type(`(setsid sh -c 'while read -r line; do echo "got $line"; done' <>${channel} >&0 &)`);
    shell.type('sleep 1');
    const { machine } = shell;
    useBoth(machine, outputs);

    // In the middle of its work it becomes another machine.
    const heard: StampedOutput[] = [];
    const later = await resume(machine.snapshot({ full: true }), heard);
    useBoth(later.machine, heard);

    squeeze(shell);
    panic(shell, outputs);
  });
});

function useBoth(machine: Machine, outputs: StampedOutput[]): void {
  outputs.length = 0;
  machine.input({ kind: 'console', port: 0, bytes: bytes('echo $((6 * 7)) on $(tty)\r') });
  machine.input({ kind: 'console', port: 1, bytes: bytes(`${'x'.repeat(6000)}\n`) });
  until(machine, 'the answer on hvc0', () => /42 on \/dev\/hvc0/.test(listen(outputs, 0)()));
  until(machine, 'the answer on the channel', () => /got x{6000}\n/.test(listen(outputs, 1)()));
}

/** 40 MiB go to the balloon: they are zero in a checkpoint, whatever the guest had there. */
function squeeze(shell: Shell): void {
  const { machine } = shell;
  const pages = 10_240;
  const stored = (): number => {
    const ram = machine.snapshot({ full: true }).spaces.find(({ name }) => name === 'ram');
    return ram?.indexes.length ?? 0;
  };
  const free = (): number => Number(/MemFree:\s+(\d+)/.exec(shell.type('cat /proc/meminfo'))?.[1]) / 4;
  shell.type(
    'i=0; while [ $i -lt 24 ]; do i=$((i + 1)); cat /bin/busybox; done >/tmp/garbage; rm /tmp/garbage',
  );
  const before = { stored: stored(), free: free() };
  machine.input({ kind: 'balloon', pages });
  until(machine, 'the balloon', () => free() < before.free - pages * 0.9);
  assert.ok(stored() < before.stored - pages * 0.8, `${String(before.stored)} → ${String(stored())} pages`);
  machine.input({ kind: 'balloon', pages: 0 });
  until(machine, 'the return', () => free() > before.free - pages * 0.1);
}

function panic(shell: Shell, outputs: StampedOutput[]): void {
  outputs.length = 0;
  const { machine } = shell;
  machine.input({ kind: 'serial', port: 0, bytes: bytes('echo c >/proc/sysrq-trigger\n') });
  until(machine, 'the report of the panic', () => outputs.some(({ output }) => output.kind === 'panic'));
  assert.deepEqual(
    outputs.flatMap(({ output }) => (output.kind === 'panic' ? [output.event] : [])),
    ['panicked'],
  );
}
