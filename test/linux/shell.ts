/** Debian's kernels with BusyBox as guests of tests: booted from the cache's images, used through the first serial port. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import {
  createMachine,
  pcMemoryMap,
  planKernel,
  restoreMachine,
  type DiskBacking,
  type DiskRequest,
  type Machine,
  type MachineRequest,
  type MachineSnapshot,
  type StampedOutput,
} from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { fetchImage, readImageFile, type Image } from '../../packages/cli/src/images/image.ts';

const defaultMemoryBytes = 128 * 2 ** 20;
const sliceInstructions = 2_000_000;
export const bootInstructions = 4_000_000_000n;
const commandInstructions = 1_500_000_000n;

/** A console on the first serial port. */
export class Shell {
  readonly machine: Machine;
  #unread = '';

  constructor(machine: Machine) {
    this.machine = machine;
  }

  received(byte: number): void {
    this.#unread += String.fromCharCode(byte);
  }

  /** Runs until `pattern` has been printed; returns and forgets everything up to its end. */
  waitFor(pattern: RegExp, instructions: bigint): string {
    const end = this.machine.instructions + instructions;
    for (;;) {
      const found = pattern.exec(this.#unread);
      if (found !== null) {
        const upTo = found.index + found[0].length;
        const seen = this.#unread.slice(0, upTo);
        this.#unread = this.#unread.slice(upTo);
        return seen;
      }
      const { reason } = this.machine.run({ instructions: sliceInstructions });
      const tail = this.#unread.slice(-2000);
      assert.ok(reason === 'limit', `the guest ended (${reason}):\n${tail}`);
      assert.ok(this.machine.instructions < end, `${String(pattern)} did not appear:\n${tail}`);
    }
  }

  /** Types a command; returns what it printed. */
  type(command: string): string {
    // The marker is put together by the shell, so that the echo of the line does not contain it.
    const line = `${command}; echo "do""ne:$?"\n`;
    this.machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode(line) });
    const output = this.waitFor(/done:\d+\r?\n[^\n]*# /, commandInstructions);
    assert.match(output, /done:0\r?\n/, `${command} failed:\n${output}`);
    return output.slice(0, output.indexOf('done:')).replaceAll('\r', '');
  }
}

/** At the prompt: what the guest loads beside its work is there. */
export function optionalDrivers(shell: Shell): void {
  shell.type('until [ -e /tmp/drivers ]; do usleep 10000; done');
}

export async function boot(
  image: Image,
  options: {
    requests?: readonly DiskRequest[];
    backings?: Record<string, DiskBacking>;
    memoryBytes?: number;
    /** The rest of the machine. */
    description?: MachineRequest;
    /** Words for the kernel behind the image's own. */
    append?: string;
    /** All that the guest puts out is added here. */
    outputs?: StampedOutput[];
  } = {},
): Promise<Shell> {
  const { memoryBytes = defaultMemoryBytes } = options;
  const console: { shell?: Shell } = {};
  const machine = await createMachine({
    description: { ...options.description, memoryBytes, disks: options.requests ?? [] },
    engine: nodeEngine,
    backends: {
      hash: nodeHash,
      disks: options.backings ?? {},
      output: (entry) => void options.outputs?.push(entry),
      serial: (port, byte) => {
        if (port === 0) console.shell?.received(byte);
      },
    },
  });
  const kernel = await readImageFile(image, 'kernel');
  const initrd = await readImageFile(image, 'initrd');
  const commandLine = [image.manifest.commandLine, options.append ?? ''].join(' ');
  const environment = { memoryMap: pcMemoryMap(memoryBytes), rsdpAddress: machine.rsdpAddress };
  machine.boot(planKernel({ kernel, initrd, commandLine, longMode: true }, environment));
  console.shell = new Shell(machine);
  return console.shell;
}

/** A guest of a snapshot, at its console. */
export async function resume(snapshot: MachineSnapshot, outputs?: StampedOutput[]): Promise<Shell> {
  const console: { shell?: Shell } = {};
  const machine = await restoreMachine({
    snapshot: structuredClone(snapshot),
    engine: nodeEngine,
    backends: {
      hash: nodeHash,
      output: (entry) => void outputs?.push(entry),
      serial: (port, byte) => {
        if (port === 0) console.shell?.received(byte);
      },
    },
  });
  console.shell = new Shell(machine);
  return console.shell;
}

export async function imageOrSkip(context: TestContext, name: string): Promise<Image | undefined> {
  try {
    return await fetchImage(name, () => undefined);
  } catch (error) {
    context.skip(
      `the image ${name} can't be made here: ${error instanceof Error ? error.message : String(error)}`,
    );
    return undefined;
  }
}
