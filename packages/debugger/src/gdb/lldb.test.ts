/** Debian's lldb on our machines: it speaks the same protocol, in its own way. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { countingPlan } from '../../../emulator/src/machine/testing/guests.ts';
import { serve } from '../../test-support/gdb.ts';
import { travelling } from '../../test-support/machines.ts';

before(() => {
  buildModules(() => undefined);
});

const skip = spawnSync('lldb', ['--version']).status === 0 ? false : 'there is no lldb';

test(
  'lldb: registers, memory, breakpoints, steps, code; its end leaves the machine where it is',
  { skip },
  async () => {
    const target = await travelling(countingPlan, { cpu: 'x86-64-v2' });
    const server = await serve(target, 'x86-64');
    const gone = server.ended();
    const commands = [
      'settings set target.require-hardware-breakpoint true',
      `gdb-remote 127.0.0.1:${String(server.port)}`,
      'register read rip',
      'breakpoint set --address 0x10104d',
      'process continue',
      'register read rip eax',
      'memory read --size 4 --format x --count 1 0x200100',
      'disassemble --start-address 0x10104d --count 1',
      'thread step-inst',
      'register read rip',
      'memory read --size 4 --format x --count 1 0x200100',
      'detach',
    ];
    const child = spawn('lldb', ['--no-lldbinit', '--batch', ...commands.flatMap((each) => ['-o', each])]);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        output += bytes.toString();
      });
    await new Promise((resolve) => child.once('close', resolve));
    await gone;
    await server.close();
    assert.match(output, /rip = 0x0000000000101000/);
    assert.match(output, /stop reason = breakpoint 1\.1[^]*rip = 0x000000000010104d\s+eax = 0x00000100/);
    assert.match(output, /0x00200100: 0x00000000[^]*instruction step into[^]*rip = 0x0000000000101052/);
    assert.match(output, /0x00200100: 0x00000100[^]*Process 1 detached/);
    assert.equal(target.machine.atBreakpoint, false, 'nothing of lldb is left');
  },
);
