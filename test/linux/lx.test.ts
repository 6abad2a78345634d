/** `monitor lx …` and the kernel's symbols in the real gdb, on Debian's cloud kernel. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { startGdbServer } from '../../packages/cli/src/debug/gdb.ts';
import { openTarget } from '../../packages/cli/src/debug/open.ts';
import { imageOrSkip } from './shell.ts';

const hasGdb = spawnSync('gdb', ['--version']).status === 0;
/** Linux is up by then, and its shell waits. */
const booted = 600_000_000n;

before(() => {
  buildModules(() => undefined);
});

async function output(port: number, commands: readonly string[]): Promise<string> {
  const all = [
    'set confirm off',
    'set pagination off',
    // A busy machine may take longer than gdb's two seconds to send it the kernel's symbols.
    'set remotetimeout 60',
    `target remote 127.0.0.1:${String(port)}`,
    ...commands,
  ];
  const child = spawn('gdb', ['-nx', '-q', '-batch', ...all.flatMap((command) => ['-ex', command])]);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
  await new Promise((resolve) => child.once('close', resolve));
  return said;
}

test(
  'processes, log, modules, stacks, page tables and symbols of a Linux guest',
  { skip: hasGdb ? false : 'there is no gdb' },
  async (t) => {
    if ((await imageOrSkip(t, 'linux-cloud')) === undefined) return;
    const { target, close } = await openTarget(
      {
        image: 'linux-cloud',
        append: 'run="while :; do cat /proc/uptime; sleep 1; done"',
        serial: { kind: 'none' },
        engine: 'translator',
      },
      { say: () => undefined },
    );
    for (const step of target.forward(booted)) assert.equal(step, undefined);
    const server = await startGdbServer(target, {
      listen: { host: '127.0.0.1', port: 0 },
      arch: 'auto',
      say: () => undefined,
    });
    const said = await output(server.port, [
      'monitor lx version',
      'monitor lx ps',
      'monitor lx dmesg 3',
      'monitor lx modules',
      'monitor lx bt 2',
      'monitor lx pages 1',
      'monitor lx symbol do_sys_openat2',
      'monitor lx symbols',
      'symbol-file target:kernel',
      'info address do_sys_openat2',
      'hbreak do_sys_openat2',
      'continue',
      'monitor lx bt',
    ]);
    await server.close();
    await close();
    assert.match(said, /Linux version 6\./);
    assert.match(said, /\n\s*1 +0 +\S +init|\n1 +0 +\S+ +\S+/);
    assert.match(said, /\[kthreadd\]/);
    assert.match(said, /\n\[ +\d+\.\d{6}\] /);
    assert.match(said, /virtio_\w+ +0xffffffff[0-9a-f]+ +\d+/);
    assert.match(said, /2 kthreadd\n {2}#0 \S+\+0x[0-9a-f]+\n/);
    assert.match(said, /#\d+ kthreadd\+0x[0-9a-f]+/);
    assert.match(said, /0x[0-9a-f]+-0x[0-9a-f]+ r-x \d+ KiB/);
    assert.match(said, /0x7ff[0-9a-f]+-0x7ff[0-9a-f]+ rw- \d+ KiB/);
    const address = /\n(0xffffffff[0-9a-f]+)\n/.exec(said)?.[1] ?? 'no address';
    assert.match(said, new RegExp(`Symbol "do_sys_openat2" is at ${address}`));
    assert.match(said, /Breakpoint 1, 0x[0-9a-f]+ in do_sys_openat2/);
    assert.match(said, /#0 do_sys_openat2(\+0x[0-9a-f]+)?\n {2}#\d+ (__x64_sys_openat|do_syscall_64)/);
  },
);
