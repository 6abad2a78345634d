/**
 * Debian's Xen, started directly with Debian's cloud kernel as its first module. It finds the memory map, the BIOS data area and the ACPI tables of the board, takes its console,
 * builds its domain 0, and runs the kernel there. Both packages are fetched as guest images are; without apt or a network the test is skipped, and says so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createMachine, pcMemoryMap, planKernel } from '@revenant/emulator';
import { buildModules, nodeHash } from '@revenant/emulator/host-node';
import { CliError } from '../../packages/cli/src/errors.ts';
import { fetchImage, readImageFile } from '../../packages/cli/src/images/image.ts';
import { releasedOrSkip } from './media.ts';
import { engine } from './pc.ts';

const memoryBytes = 512 << 20;
const xen = {
  meta: 'xen-system-amd64',
  name: /xen-hypervisor-\d/,
  path: /^boot\/xen-[\d.]+-amd64\.gz$/,
  cachedAs: 'xen-amd64.gz',
};
const commandLine = 'console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all noreboot earlyprintk=xen';
/** Three times what it takes. */
const mostInstructions = 12_000_000_000n;
/** In this order. */
const words = [
  /\(XEN\) Xen version 4\./,
  /\(XEN\) Multiboot-e820 RAM map:/,
  /\(XEN\) ACPI: RSDP .*RVNT/,
  /\(XEN\) \*\*\* Building a PV Dom0 \*\*\*/,
  /\(XEN\) \*\*\* Serial input to DOM0/,
  /\] Linux version 6\./,
  /\] Booting (paravirtualized )?kernel on Xen/,
];

test(
  "Debian's Xen takes its console and starts Debian's cloud kernel as its domain 0",
  { timeout: 1_200_000 },
  async (context) => {
    const packed = await releasedOrSkip(context, xen);
    if (packed === undefined) return;
    let initrd: Uint8Array;
    try {
      initrd = await readImageFile(await fetchImage('linux-cloud', () => undefined), 'bzImage');
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      context.skip(error.message);
      return;
    }
    buildModules(() => undefined);
    let said = '';
    const machine = await createMachine({
      description: { memoryBytes },
      backends: {
        hash: nodeHash,
        output: ({ output }) => {
          if (output.kind === 'serial') said += Buffer.from(output.bytes).toString('latin1');
          return true;
        },
      },
      engine,
    });
    const { rsdpAddress } = machine;
    assert.ok(rsdpAddress !== undefined, 'the board has ACPI tables');
    const kernel = gunzipSync(packed);
    const plan = planKernel(
      { kernel, initrd, commandLine, longMode: true },
      { memoryMap: pcMemoryMap(memoryBytes), rsdpAddress },
    );
    assert.equal(plan.format, 'multiboot');
    machine.boot(plan);
    let at = 0;
    for (const word of words) {
      let found: number;
      while ((found = said.slice(at).search(word)) < 0) {
        const { reason } = machine.run({ instructions: 20_000_000 });
        assert.equal(reason, 'limit', said.slice(-2000));
        assert.ok(
          machine.instructions < mostInstructions,
          `${word.source} does not come:\n${said.slice(-2000)}`,
        );
      }
      at += found;
    }
  },
);
