/**
 * What `checkpoint linux` reads from a guest's memory is what the guest itself says: its log (dmesg), its processes (ps) and its version, of
 * Debian's 64-bit kernel (with BTF and names of data) and its 32-bit one (with neither), cut in user mode and in the kernel.
 */
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMachine, pcMemoryMap, planKernel, type CpuState } from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { writeCheckpointFile } from '@revenant/storage';
import {
  locateKernel,
  logLine,
  readLog,
  readProcesses,
  type Kernel,
  type KernelInside,
} from '@revenant/debugger/inspect';
import { Opener } from '../../packages/cli/src/checkpoint/opener.ts';
import { readImageFile, type Image } from '../../packages/cli/src/images/image.ts';
import { boot, bootInstructions, imageOrSkip, Shell } from './shell.ts';

let folder: string;
before(async () => {
  buildModules(() => undefined);
  folder = await mkdtemp(join(tmpdir(), 'revenant-linux-'));
});
after(() => rm(folder, { recursive: true, force: true }));

/** Goes on until the processor is in user mode, or in the kernel. */
function runUntil(shell: Shell, cpl: number): void {
  for (let tries = 0; tries < 100_000; tries++) {
    const [cpu] = shell.machine.snapshot().cpus as readonly CpuState[];
    if (cpu?.cpl === cpl) return;
    shell.machine.run({ instructions: 997 });
  }
  assert.fail(`the processor never was at privilege level ${String(cpl)}`);
}

/** Looks at the machine as it stands. */
async function look(
  shell: Shell,
  see: (kernel: Kernel, inside: KernelInside) => Promise<void>,
): Promise<void> {
  const path = join(folder, 'guest.checkpoint');
  await writeCheckpointFile(path, shell.machine.snapshot({ full: true }));
  const opener = new Opener(undefined);
  try {
    const kernel = await locateKernel(await opener.checkpoint(path));
    assert.ok(kernel.inside, 'the symbols were not recognised');
    await see(kernel, kernel.inside);
  } finally {
    await opener.close();
  }
}

/** Boots the kernel as Debian packs it, which chooses its place when it unpacks itself; the image has it unpacked. */
async function bootPacked(image: Image): Promise<Shell> {
  const memoryBytes = 128 * 2 ** 20;
  const console: { shell?: Shell } = {};
  const machine = await createMachine({
    description: { memoryBytes },
    engine: nodeEngine,
    backends: { hash: nodeHash, serial: (port, byte) => port === 0 && console.shell?.received(byte) },
  });
  const [kernel, initrd] = [await readImageFile(image, 'bzImage'), await readImageFile(image, 'initrd')];
  const environment = { memoryMap: pcMemoryMap(memoryBytes), rsdpAddress: machine.rsdpAddress };
  const { commandLine } = image.manifest;
  machine.boot(planKernel({ kernel, initrd, commandLine, longMode: true }, environment));
  console.shell = new Shell(machine);
  return console.shell;
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');

/** `PID PARENT STATE NAME` as /proc/PID/stat has them, sorted by pid. */
const statCommand =
  'for p in /proc/[0-9]*; do sed "s/^\\([0-9]*\\) (\\(.*\\)) \\(.\\) \\([0-9]*\\) .*/\\1 \\4 \\3 \\2/" $p/stat; done 2>/dev/null | sort -n';

async function checkGuest(shell: Shell, name: string, architecture: string): Promise<void> {
  shell.waitFor(/# /, bootInstructions);
  shell.type('stty -echo; PS1="# "');
  const uname = shell.type('uname -r').trim();
  shell.type('echo "hello from the test" > /dev/kmsg');
  // A process that waits, and one that was stopped.
  shell.type('sleep 100000 & (sleep 100001 & sleep 1; kill -STOP $!)');
  const dmesg = lines(shell.type('dmesg'));
  const stats = lines(shell.type(statCommand));

  await look(shell, async (kernel, inside) => {
    assert.equal(kernel.release, uname);
    assert.equal(kernel.architecture, architecture);
    assert.deepEqual(
      (await readLog(inside)).flatMap((record) => lines(logLine(record))),
      dmesg,
    );
    const { processes, layout } = await readProcesses(inside);
    assert.equal(layout, name === 'linux-cloud' ? 'BTF' : 'the tasks');
    // Helpers of the command itself and workers of the kernel come and go.
    const lasting = (row: string): boolean => !/ (kworker\/.*|sed|sort|sh)$/.test(row);
    const asSeen = processes.map(
      ({ pid, parent, state, name: comm }) => `${String(pid)} ${String(parent)} ${state} ${comm}`,
    );
    // The kernel's threads come and go between two states; proc gives their workqueue's long name.
    const settled = (row: string): string =>
      row.replace(/^(\d+ \d+) [RSD] /, '$1 S ').replace(/^(\d+ 2) \S (.{1,15}).*/, '$1 K $2');
    const [inMemory, inGuest] = [asSeen, stats].map((rows) => rows.filter(lasting).map(settled));
    assert.deepEqual(inMemory, inGuest);
    assert.ok(
      asSeen.some((row) => / T sleep$/.test(row)) && asSeen.some((row) => / S sleep$/.test(row)),
      asSeen.join('\n'),
    );
  });

  const busy = new TextEncoder().encode('while :; do cd /; done\n');
  shell.machine.input({ kind: 'serial', port: 0, bytes: busy });
  shell.machine.run({ instructions: 5_000_000 });
  for (const cpl of [3, 0]) {
    runUntil(shell, cpl);
    await look(shell, async (_kernel, inside) => {
      assert.ok((await readLog(inside)).some(({ text }) => text === 'hello from the test'));
      const running = (await readProcesses(inside)).processes.filter(({ state }) => state === 'R');
      assert.ok(
        running.some((process) => process.name === 'sh'),
        `at privilege level ${String(cpl)}`,
      );
    });
  }
}

describe('checkpoint linux', { timeout: 1_800_000 }, () => {
  for (const [name, architecture] of [
    ['linux-cloud', 'amd64'],
    ['linux-i386', 'i386'],
  ] as const)
    test(`finds in the memory of ${name} what the guest says of itself`, async (context) => {
      const image = await imageOrSkip(context, name);
      if (image !== undefined) await checkGuest(await boot(image), name, architecture);
    });

  test('finds a kernel that was moved at its start (KASLR)', async (context) => {
    const image = await imageOrSkip(context, 'linux-cloud');
    if (image === undefined) return;
    const shell = await bootPacked(image);
    shell.waitFor(/# /, bootInstructions);
    await look(shell, async (_kernel, inside) => {
      assert.notEqual(inside.image.address, 0xffff_ffff_8100_0000n);
      assert.match((await readLog(inside))[0]?.text ?? '', /^Linux version /);
      assert.equal((await readProcesses(inside)).processes[0]?.name, 'init');
    });
  });
});
