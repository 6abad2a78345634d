/**
 * Debian's 64-bit and 32-bit kernels boot to a shell in 128 MiB, and what is typed there works. The images come from the cache or are made from
 * Debian's packages; without a network the tests are skipped and say so.
 */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { buildModules } from '@revenant/emulator/host-node';
import { boot, bootInstructions, imageOrSkip, type Shell } from './shell.ts';

/** What `seq 1 n` prints. */
const sequence = (n: number): string => Array.from({ length: n }, (_, i) => `${String(i + 1)}\n`).join('');

function checkShell(shell: Shell, machineName: string): void {
  const greeting = shell.waitFor(/# /, bootInstructions);
  assert.match(greeting, new RegExp(`Revenant: Linux .* on ${machineName} is up`));
  for (const trouble of [/BUG:/, /Oops/, /Kernel panic/, /Call Trace/, /unhandled/i])
    assert.ok(!trouble.test(greeting), `${String(trouble)} in the log:\n${greeting}`);

  shell.type('stty -echo; PS1="# "');
  assert.match(shell.type('ls -1 /'), /^bin\ndev\netc\n/);
  assert.match(shell.type('cat /proc/cpuinfo'), /model name\s*: \S/);
  assert.match(shell.type('dmesg | tail -n 3'), /\[ +\d+\.\d+\]/);
  assert.match(shell.type('uname -m'), new RegExp(machineName));

  const sum = createHash('sha256').update(sequence(20_000)).digest('hex');
  assert.match(shell.type('seq 1 20000 > /tmp/numbers; sha256sum /tmp/numbers'), new RegExp(`^${sum} `, 'm'));
  assert.match(
    shell.type('gzip /tmp/numbers && gunzip /tmp/numbers.gz && sha256sum < /tmp/numbers'),
    new RegExp(`^${sum} `, 'm'),
  );
  const packed = gzipSync('made by the host\n').toString('base64');
  assert.match(shell.type(`echo ${packed} | base64 -d | gunzip`), /made by the host/);
  const loop = 'i=0; while [ $i -lt 200 ]; do /bin/true || echo lost; i=$((i+1)); done; echo forked $i';
  assert.match(shell.type(loop), /^forked 200$/m);
  assert.match(shell.type('echo "2 3 ^ 7 * 4 / p" | dc'), /^14$/m);
}

before(() => {
  buildModules(() => undefined);
});

describe('Linux', { timeout: 1_800_000 }, () => {
  for (const [name, machineName] of [
    ['linux-cloud', 'x86_64'],
    ['linux-i386', 'i686'],
  ] as const)
    test(`${name} boots to a shell that works, and switches the machine off`, async (context) => {
      const image = await imageOrSkip(context, name);
      if (image === undefined) return;
      const shell = await boot(image);
      checkShell(shell, machineName);
      shell.machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode('poweroff -f\n') });
      let result = shell.machine.run({ instructions: 1_000_000_000 });
      if (result.reason === 'limit') result = shell.machine.run({ instructions: 1_000_000_000 });
      assert.equal(result.reason, 'powerOff');
    });
});
