/** The real gdb on our machines: what it shows, where it stops, and that it leaves no trace. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { buildModules } from '@revenant/emulator/host-node';
import { countingPlan, tickingPlan } from '../../../emulator/src/machine/testing/guests.ts';
import { gdb, hasGdb, serve, startGdb } from '../../test-support/gdb.ts';
import { finish, runTo, travelling } from '../../test-support/machines.ts';

before(() => {
  buildModules(() => undefined);
});

describe('gdb', { skip: hasGdb ? false : 'there is no gdb' }, () => {
  test('32-bit code: breakpoints, registers, memory, steps', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    const { output, status } = await gdb(server, [
      'break *0x10104d',
      'continue',
      'printf "eax=%d pc=%#x\\n", $eax, $pc',
      'x/i $pc',
      'stepi',
      'printf "pc=%#x mem=%#x\\n", $pc, *(int *)0x200100',
      'hbreak *0x101066',
      'continue',
      'info registers eip cs eflags',
      'p $cr0',
      'p $instructions',
      'info threads',
    ]);
    await server.close();
    assert.equal(status, 0, output);
    assert.match(output, /Breakpoint 1, 0x0010104d/);
    assert.match(output, /eax=256 pc=0x10104d/);
    assert.match(output, /=> 0x10104d:\s+mov\s+%eax,0x200100/);
    assert.match(output, /pc=0x101052 mem=0x100/);
    assert.match(output, /Breakpoint 2, 0x00101066/);
    assert.match(output, /eflags\s+0x\w+\s+\[/);
    assert.match(output, /\$1 = 17\n/);
    assert.match(output, /Thread 1 .*CPU 0/);
    assert.equal(target.machine.atBreakpoint, false, 'nothing of gdb is left');
  });

  test('a session is no part of the run: the guest goes on as without it', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    await gdb(server, [
      'break *0x10104d',
      'continue',
      'continue',
      'stepi',
      'x/8i $pc',
      'watch *(int *)0x200200',
      'continue',
      'continue',
    ]);
    await server.close();
    const plain = await travelling(countingPlan);
    runTo(plain, target.count);
    assert.ok(target.count > 1000n);
    assert.equal(target.machine.stateHash(), plain.machine.stateHash());
  });

  test('16-bit boot code: decoded as such, the PC where the code is', async () => {
    const target = await travelling(tickingPlan);
    const server = await serve(target, 'i8086');
    const { output } = await gdb(server, [
      'x/3i $pc',
      'break *0x7c44',
      'continue',
      'printf "pc=%#x ip=%#lx\\n", $pc, $ip',
      'x/2i $pc',
    ]);
    await server.close();
    assert.match(output, /=> 0x7c00:\s+cli\s+0x7c01:\s+xor\s+%ax,%ax\s+0x7c03:\s+mov\s+%ax,%ds/);
    assert.match(output, /Breakpoint 1, 0x00007c44/);
    assert.match(output, /pc=0x7c44 ip=0x7c44/);
    assert.match(output, /0x7c45:\s+incw?\s+0x504/);
  });

  test('x86-64: 536 bytes of registers, x87 and SSE, with what a system has behind them', async () => {
    const target = await travelling(countingPlan, { cpu: 'x86-64-v2' });
    target.machine.setRegisters({ xmm: new Uint8Array(256).fill(1, 0, 16), fcw: 0x37f, mxcsr: 0x1f80 });
    const server = await serve(target, 'x86-64');
    const { output } = await gdb(server, [
      'info registers rip fs_base cr4 efer',
      'p/x $xmm0.v4_int32',
      'info float',
      'p $mxcsr',
      'p $msr_apic_base',
      'p/x $cs_limit',
    ]);
    await server.close();
    assert.match(output, /rip\s+0x101000\s+0x101000/);
    assert.match(output, /= \{0x1010101, 0x1010101, 0x1010101, 0x1010101\}/);
    assert.match(output, /Control Word:\s+0x037f/);
    assert.match(output, /\[ IM DM ZM OM UM PM RC=0 \]/);
    assert.match(output, /= 0xffffffff\n/);
  });

  test('breakpoints on neighbouring bytes: gdb leaves the PC alone', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    const { output } = await gdb(server, [
      'break *0x101040',
      'break *0x101041',
      'continue',
      'continue',
      'stepi',
      'p/x $pc',
    ]);
    await server.close();
    assert.match(output, /Breakpoint 1, 0x00101040[^]*Breakpoint 2, 0x00101041[^]*\$1 = 0x101046/);
  });

  test('YMM registers, where the processor has them', async () => {
    const show = [
      'p/x $ymm3.v4_int64',
      'set $ymm3.v4_int64[3] = 5',
      'p/x $ymm3.v4_int64',
      'p/x $xmm3.v2_int64',
    ];
    const target = await travelling(countingPlan, { cpu: 'x86-64-v3' });
    target.machine.setRegisters({
      xmm: new Uint8Array(256).fill(1, 48, 64),
      ymmHigh: new Uint8Array(256).fill(2, 48, 64),
    });
    const server = await serve(target, 'x86-64');
    const { output } = await gdb(server, show);
    await server.close();
    assert.match(
      output,
      /\$1 = \{0x101010101010101, 0x101010101010101, 0x202020202020202, 0x202020202020202\}/,
    );
    assert.match(output, /\$2 = \{0x101010101010101, 0x101010101010101, 0x202020202020202, 0x5\}/);
    assert.match(output, /\$3 = \{0x101010101010101, 0x101010101010101\}/);
    assert.equal(target.machine.registers().ymmHigh[56], 5);
    const without = await serve(await travelling(countingPlan, { cpu: 'x86-64-v2' }), 'x86-64');
    const plain = await gdb(without, ['p $ymm3']);
    await without.close();
    assert.match(plain.output, /= void/);
  });

  test('processors are threads, each with its own registers', async () => {
    const target = await travelling(countingPlan, { cpu: 'x86-64-v2', cpuCount: 3 });
    const server = await serve(target, 'i386');
    const { output } = await gdb(server, [
      'info threads',
      'break *0x101040',
      'continue',
      'thread 3',
      'p/x $ip',
      'p/x $cs_attributes',
      'set $ebx = 0x1234',
      'p/x $ebx',
      'thread 1',
      'p/x $ebx',
      'stepi',
      'p/x $pc',
      'thread 3',
      'p/x $ebx',
      'thread 4',
    ]);
    await server.close();
    assert.match(
      output,
      /\* 1 +Thread 1[^\n]*running[^]*2 +Thread 2[^\n]*not started[^]*3 +Thread 3[^\n]*not started/,
    );
    assert.match(output, /Breakpoint 1, 0x00101040/);
    assert.match(output, /\$1 = 0xfff0\n\$2 = 0x93\n\$3 = 0x1234\n/);
    assert.match(output, /\$4 = 0x0\n[^]*\$5 = 0x101041\n[^]*\$6 = 0x1234\n/);
    assert.match(output, /(Unknown thread|Invalid thread ID)/);
    assert.equal(target.machine.registers(2).rbx, 0x1234n);
  });

  test('watchpoints: written, read, accessed', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    const { output } = await gdb(server, [
      'watch *(int *)0x200100',
      'continue',
      'delete',
      'rwatch *(int *)0x200008',
      'continue',
      'p $ecx',
      'delete',
      'awatch *(int *)0x200204',
      'continue',
    ]);
    await server.close();
    assert.match(output, /Hardware watchpoint 2|Hardware watchpoint 1: \*\(int \*\)0x200100/);
    assert.match(output, /Old value = 0\s+New value = 256/);
    assert.match(output, /Hardware read watchpoint 2[^]*Value = 0[^]*\$1 = 13/);
    assert.match(output, /Hardware access \(read\/write\) watchpoint 3/);
  });

  test('backwards: a breakpoint, a watchpoint, steps, the beginning', async () => {
    const target = await travelling(countingPlan, { every: 500n });
    const server = await serve(target, 'i386');
    const { output } = await gdb(server, [
      'break *0x101052',
      'continue',
      'continue',
      'continue',
      'p $eax',
      'reverse-continue',
      'p $eax',
      'delete',
      'watch *(int *)0x200100',
      'reverse-continue',
      'printf "before pc=%#x eax=%d\\n", $pc, $eax',
      'delete',
      'reverse-stepi',
      'printf "back pc=%#x\\n", $pc',
      'reverse-continue',
      'p $instructions',
    ]);
    await server.close();
    assert.match(output, /\$1 = 768[^]*\$2 = 512/);
    assert.match(output, /Old value = 512\s+New value = 256[^]*before pc=0x10104d eax=512/);
    assert.match(output, /back pc=0x10104b/);
    assert.match(output, /No more reverse-execution history[^]*\$3 = 0/);
  });

  test('monitor: time, goto, memory, physical, help', async () => {
    const target = await travelling(countingPlan);
    runTo(target, 10_000n);
    const server = await serve(target, 'i386');
    const { output } = await gdb(server, [
      'monitor time',
      'monitor goto 5000',
      'monitor xp 0x101000 8',
      'monitor translate 0x1234',
      'monitor physical on',
      'monitor nonsense',
      'monitor goto begin',
      'maintenance flush register-cache',
      'p $instructions',
    ]);
    await server.close();
    assert.match(output, /instruction 10000, virtual time/);
    assert.match(output, /instruction 5000, virtual time/);
    assert.match(output, /00101000 {2}e8 3b 00 00 00 eb f9 00/);
    assert.match(output, /0x1234\n[^]*memory is physical[^]*there is no command 'nonsense'[^]*goto COUNT/);
    assert.match(output, /\$1 = 0/);
  });

  test('writes of gdb belong to the run, and are repeated after going back', async () => {
    const target = await travelling(countingPlan, { every: 1_000n });
    const server = await serve(target, 'i386');
    const { output } = await gdb(server, [
      'break *0x10104d',
      'continue',
      'set $eax = 0x5500',
      'set *(int *)0x200800 = 7',
      'continue',
      'p/x $eax',
      'reverse-continue',
      'p/x $eax',
      'continue',
      'p/x $eax',
      'p *(int *)0x200800',
    ]);
    await server.close();
    assert.match(output, /\$1 = 0x5600[^]*\$2 = 0x5500[^]*\$3 = 0x5600[^]*\$4 = 7/);
  });

  test('a gdb that is killed while the guest runs: the machine stops, and the next one finds it clean', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    const gone = server.ended();
    const child = startGdb(server.port, ['break *0x101fff', 'continue']);
    while (target.count < 1_000_000n) await new Promise((resolve) => setImmediate(resolve));
    child.kill('SIGKILL');
    await Promise.all([once(child, 'close'), gone]);
    const { count } = target;
    const { output } = await gdb(server, ['info registers eip', 'stepi', 'p $instructions']);
    await server.close();
    assert.match(output, new RegExp(`\\$1 = ${count + 1n}\\n`));
  });

  test('Ctrl-C stops a guest that runs, and the end of gdb -batch does not kill it', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    const gone = server.ended();
    const child = startGdb(server.port, ['continue', 'printf "stopped at %#x\\n", $pc']);
    let output = '';
    child.stdout?.on('data', (bytes: Buffer) => (output += bytes.toString()));
    while (target.count < 1_000_000n) await new Promise((resolve) => setImmediate(resolve));
    child.kill('SIGINT');
    await Promise.all([once(child, 'close'), gone]);
    await server.close();
    assert.match(output, /SIGINT, Interrupt[^]*stopped at 0x10/);
    finish(target.forward(target.count + 10n));
  });

  test('one debugger at a time', async () => {
    const target = await travelling(countingPlan);
    const server = await serve(target, 'i386');
    const gone = server.ended();
    const first = startGdb(server.port, ['continue']);
    while (target.count < 1_000_000n) await new Promise((resolve) => setImmediate(resolve));
    const second = startGdb(server.port, ['p $pc']);
    let output = '';
    second.stderr?.on('data', (bytes: Buffer) => (output += bytes.toString()));
    await once(second, 'close');
    assert.match(output, /closed|reset/i);
    first.kill('SIGKILL');
    await Promise.all([once(first, 'close'), gone]);
    await server.close();
  });
});
