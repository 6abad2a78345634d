/** Debian's kernels on several processors: they start all of them, work on all of them, take them away and back, and go on from a checkpoint in the midst of it. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { buildModules } from '@revenant/emulator/host-node';
import type { CpuModelName } from '@revenant/emulator';
import { boot, bootInstructions, imageOrSkip, optionalDrivers, resume, type Shell } from './shell.ts';

const trouble = /BUG:|Oops|Kernel panic|Call Trace|not responding|unstable|TSC warp|soft lockup/i;

function noTrouble(text: string): void {
  assert.doesNotMatch(text, trouble);
}

/** A hash of the same numbers on each processor at once; how many of them agree. */
function worksOnAll(shell: Shell, cpuCount: number): void {
  const each = Array.from(
    { length: cpuCount },
    (_, n) => `(seq 1 3000 | taskset -c ${String(n)} sha256sum > /tmp/sum${String(n)}) &`,
  );
  assert.match(
    shell.type(`(${each.join(' ')} wait); cat /tmp/sum* | sort | uniq -c`),
    new RegExp(`^ *${String(cpuCount)} [0-9a-f]{64}`, 'm'),
  );
}

/** How often each processor took the interrupts of a line of /proc/interrupts. */
function interrupts(shell: Shell, line: string): number[] {
  const text = shell.type(`grep ${line}: /proc/interrupts`);
  const found = new RegExp(`^ *${line}: +((?:\\d+ +)+)`, 'm').exec(text)?.[1] ?? '';
  return found.trim().split(/ +/).map(Number);
}

before(() => {
  buildModules(() => undefined);
});

describe('Linux on several processors', { timeout: 1_800_000 }, () => {
  const guests: [string, number, CpuModelName][] = [
    ['linux-cloud', 2, 'x86-64-v2'],
    ['linux-cloud', 4, 'x86-64-v3'],
    ['linux-i386', 2, 'pentium3'],
  ];
  for (const [name, count, model] of guests)
    test(`${name} starts and uses ${String(count)} processors ${model}`, async (context) => {
      const image = await imageOrSkip(context, name);
      if (image === undefined) return;
      const shell = await boot(image, { description: { cpu: { model, count } } });
      noTrouble(shell.waitFor(/# /, bootInstructions));
      optionalDrivers(shell);
      shell.type('stty -echo; PS1="# "');
      const listed = shell.type('grep ^processor /proc/cpuinfo').matchAll(/^processor\s*: (\d+)/gm);
      const numbers = Array.from(listed, ([, number]) => number);
      assert.deepEqual(
        numbers,
        Array.from({ length: count }, (_, n) => String(n)),
      );
      worksOnAll(shell, count);
      for (const line of ['LOC', 'CAL']) {
        const taken = interrupts(shell, line);
        assert.equal(taken.length, count);
        assert.ok(
          taken.every((times) => times > 0),
          `${line}: ${taken.join(' ')}`,
        );
      }
      noTrouble(shell.type('dmesg'));
    });

  test('a processor is taken away and brought back, and a checkpoint amid work on two goes on as the guest does', async (context) => {
    const image = await imageOrSkip(context, 'linux-cloud');
    if (image === undefined) return;
    const shell = await boot(image, { description: { cpu: { count: 2 } } });
    shell.waitFor(/# /, bootInstructions);
    shell.type('stty -echo; PS1="# "');
    const online = '/sys/devices/system/cpu/cpu1/online';
    assert.match(shell.type(`echo 0 > ${online}; grep -c ^processor /proc/cpuinfo`), /^1$/m);
    assert.match(shell.type(`echo 1 > ${online}; grep -c ^processor /proc/cpuinfo`), /^2$/m);
    worksOnAll(shell, 2);

    const work =
      '((seq 1 20000 | taskset -c 0 gzip | sha256sum) & (seq 1 20000 | taskset -c 1 gzip | sha256sum) & wait)\n';
    shell.machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode(work) });
    shell.machine.run({ instructions: 10_000_000 });
    const snapshot = shell.machine.snapshot({ full: true });
    assert.equal(snapshot.cpus.length, 2);
    const twin = await resume(snapshot);
    const ends = [shell, twin].map((one) => {
      const text = one.waitFor(/([0-9a-f]{64}) [^]*([0-9a-f]{64}) /, bootInstructions);
      const sums = text.match(/[0-9a-f]{64}/g) ?? [];
      assert.equal(sums[0], sums[1]);
      return [sums[0], one.machine.instructions, one.machine.stateHash()];
    });
    assert.deepEqual(ends[1], ends[0]);
    noTrouble(shell.type('dmesg'));
  });
});
