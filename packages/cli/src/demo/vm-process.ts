/** A process that runs one VM, checkpoints it to the store, and can be killed at any moment. Started by demo.ts. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createMachine, pcMemoryMap, planKernel, restoreMachine } from '@revenant/emulator';
import type { Machine } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { CheckpointReader, CheckpointWriter, formatId, openStore, raiseEpoch } from '@revenant/storage';
import type { Ownership } from '@revenant/storage';
import { messageOf } from '../errors.ts';
import type { StartMessage, VmMessage } from './messages.ts';

/** Short enough that the store's work and the parent are served often. */
const sliceInstructions = 2_000_000;

function send(message: VmMessage): void {
  process.send?.(message);
}

class VmProcess {
  readonly #start: StartMessage;
  #consoleBytes = 0;
  #text = '';

  constructor(start: StartMessage) {
    this.#start = start;
  }

  readonly #backends = {
    hash: nodeHash,
    serial: (port: number, byte: number): void => {
      if (port !== 0) return;
      this.#consoleBytes++;
      this.#text += String.fromCharCode(byte);
    },
  };

  #flushConsole(): void {
    if (this.#text === '') return;
    send({ kind: 'console', text: this.#text });
    this.#text = '';
  }

  async run(): Promise<void> {
    const { storeUrl, vmId, owner, intervalMs } = this.#start;
    const store = await openStore(storeUrl);
    const ownership = await raiseEpoch(store, vmId, { owner });
    const reader =
      ownership.resumeFrom === null
        ? undefined
        : await CheckpointReader.load(store, vmId, ownership.resumeFrom);
    const machine =
      reader === undefined
        ? await this.#boot()
        : await restoreMachine({
            snapshot: await reader.readSnapshot(),
            backends: this.#backends,
            engine: nodeEngine,
          });
    await reader?.close();
    const writer = await CheckpointWriter.open(store, ownership);
    this.#tellRunning(machine, ownership);
    let writing: Promise<void> | undefined;
    let nextAt = performance.now() + intervalMs;
    for (;;) {
      const { reason } = machine.run({ instructions: sliceInstructions });
      this.#flushConsole();
      if (reason !== 'limit') {
        send({ kind: 'ended', reason });
        return;
      }
      if (performance.now() >= nextAt && writing === undefined) {
        nextAt = performance.now() + intervalMs;
        writing = this.#checkpoint(machine, writer).finally(() => (writing = undefined));
        writing.catch(stop);
      }
      await nextTurn();
    }
  }

  async #boot(): Promise<Machine> {
    const { guest } = this.#start;
    const machine = await createMachine({
      description: { memoryBytes: guest.memoryBytes },
      backends: this.#backends,
      engine: nodeEngine,
    });
    const environment = {
      memoryMap: pcMemoryMap(guest.memoryBytes),
      ...(machine.rsdpAddress === undefined ? {} : { rsdpAddress: machine.rsdpAddress }),
    };
    machine.boot(
      planKernel(
        {
          kernel: guest.kernel,
          ...(guest.initrd === undefined ? {} : { initrd: guest.initrd }),
          commandLine: guest.commandLine,
          longMode: true,
        },
        environment,
      ),
    );
    return machine;
  }

  #tellRunning(machine: Machine, ownership: Ownership): void {
    const { epoch, resumeFrom, refused } = ownership;
    send({
      kind: 'running',
      epoch,
      ...(resumeFrom === null ? {} : { resumedFrom: formatId(resumeFrom) }),
      instructions: machine.instructions.toString(),
      refused: refused.length,
    });
  }

  async #checkpoint(machine: Machine, writer: CheckpointWriter): Promise<void> {
    const before = performance.now();
    const snapshot = machine.snapshot();
    const pauseMs = performance.now() - before;
    const instructions = snapshot.instructions.toString();
    send({ kind: 'cut', instructions, consoleBytes: this.#consoleBytes });
    const { id, counts } = await writer.write(snapshot);
    const pages = snapshot.spaces.reduce((sum, space) => sum + space.indexes.length, 0);
    send({
      kind: 'durable',
      id: formatId(id),
      instructions,
      pages,
      storedBytes: counts.packBytes,
      pauseMs,
    });
  }
}

function stop(error: unknown): void {
  process.stderr.write(`vm process: ${messageOf(error)}\n`);
  process.exit(1);
}

process.once('message', (start: StartMessage) => {
  new VmProcess(start).run().catch(stop);
});
// The demo is gone: so is the reason to run.
process.once('disconnect', () => process.exit(0));
