/** A full PC for tests: Debian's SeaBIOS and its VGA BIOS, media from files or bytes, a screen that is waited for. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import {
  createMachine,
  floppyBytesFor,
  planRom,
  restoreMachine,
  screenLines,
  type BootDevice,
  type DiskAttachment,
  type DiskBacking,
  type Machine,
  type MachineRequest,
  type StampedOutput,
} from '@revenant/emulator';
import { makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { CliError } from '../../packages/cli/src/errors.ts';
import { findFirmware, firmwareRom, type Firmware } from '../../packages/cli/src/images/firmware.ts';

export interface Medium {
  attach: DiskAttachment;
  content: Uint8Array;
}

export function backingOf(content: Uint8Array): DiskBacking {
  return {
    readPage: (page) => {
      const bytes = new Uint8Array(4096);
      bytes.set(content.subarray(page * 4096, (page + 1) * 4096));
      return bytes;
    },
  };
}

/** The firmware, or undefined with the test skipped. */
export async function firmwareOrSkip(context: TestContext): Promise<Firmware | undefined> {
  try {
    return await findFirmware(() => undefined);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    context.skip(error.message);
    return undefined;
  }
}

export const engine = makeNodeEngine({ kind: 'translator' });

function writesTo(log: Pc['log']): (entry: StampedOutput) => boolean {
  return ({ output }) => {
    if (output.kind !== 'debug' && output.kind !== 'serial') return true;
    const name = output.kind === 'serial' ? 'serial' : output.port === 0x402 ? 'firmware' : 'debug';
    log[name] += Buffer.from(output.bytes).toString('latin1');
    return true;
  };
}

export class Pc {
  readonly machine: Machine;
  readonly backings: Record<string, DiskBacking>;
  /** `debug`: what came by port E9h. */
  readonly log: { firmware: string; serial: string; debug: string };

  private constructor(machine: Machine, backings: Record<string, DiskBacking>, log: Pc['log']) {
    this.machine = machine;
    this.backings = backings;
    this.log = log;
  }

  static async start(options: {
    firmware: Firmware;
    media: readonly Medium[];
    order: BootDevice[];
    description?: MachineRequest;
  }): Promise<Pc> {
    const { rom, optionRomBytes } = firmwareRom(options.firmware);
    const backings: Record<string, DiskBacking> = {};
    const disks = options.media.map(({ attach, content }, n) => {
      const name = `disk${String(n)}`;
      backings[name] = backingOf(content);
      const bytes =
        attach === 'floppy' ? (floppyBytesFor(content.length) ?? 0) : Math.ceil(content.length / 512) * 512;
      return { name, bytes, attach, base: { sha256: '0'.repeat(64) } };
    });
    const log = { firmware: '', serial: '', debug: '' };
    const machine = await createMachine({
      description: {
        boardVersion: 2,
        memoryBytes: 64 << 20,
        romBytes: rom.length,
        optionRomBytes,
        disks,
        bootOrder: options.order,
        tripleFault: 'reset',
        ...options.description,
      },
      backends: {
        hash: nodeHash,
        disks: backings,
        output: writesTo(log),
      },
      engine,
    });
    machine.boot(planRom(rom));
    return new Pc(machine, backings, log);
  }

  /** Another machine that goes on from a snapshot of this one. */
  async resumed(): Promise<Pc> {
    const snapshot = structuredClone(this.machine.snapshot({ full: true }));
    const log = { ...this.log };
    const backends = { hash: nodeHash, disks: this.backings, output: writesTo(log) };
    return new Pc(await restoreMachine({ snapshot, backends, engine }), this.backings, log);
  }

  get screen(): string {
    const screen = this.machine.screen();
    return screen === undefined ? '' : screenLines(screen).join('\n');
  }

  /** Runs until the screen's text (or the serial line) shows it; so many instructions, and virtual time, as a guest that only waits runs few. */
  waitFor(pattern: RegExp, instructions = 3_000_000_000, virtualMinutes = 24 * 60): void {
    const end = this.machine.instructions + BigInt(instructions);
    const endNs = this.machine.timeNs + BigInt(virtualMinutes) * 60_000_000_000n;
    while (this.machine.instructions < end && this.machine.timeNs < endNs) {
      if (pattern.test(this.screen) || pattern.test(this.log.serial)) return;
      const { reason } = this.machine.run({ instructions: 2_000_000 });
      assert.ok(
        reason === 'limit' || reason === 'reset',
        `${reason}\n${this.screen}\n${this.log.serial.slice(-2000)}`,
      );
    }
    assert.fail(
      `${String(pattern)} does not come:\n${this.screen}\n${this.log.serial.slice(-2000)}\n${this.log.firmware.slice(-1000)}`,
    );
  }

  press(...codes: string[]): void {
    for (const code of codes)
      for (const pressed of [true, false]) {
        this.machine.input({ kind: 'key', code, pressed });
        this.machine.run({ instructions: 2_000_000 });
      }
  }
}
