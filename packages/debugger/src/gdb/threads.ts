/** Processors as gdb's threads: thread n is processor n - 1. In packets 0 means any thread, and -1 all. */
import { HaltState, type Machine } from '@revenant/emulator';
import { hexOf } from './packets.ts';

const states: Record<number, string> = {
  [HaltState.running]: 'running',
  [HaltState.halt]: 'halted',
  [HaltState.startup]: 'not started',
};

export class Threads {
  readonly #machine: Machine;
  /** What `Hg` chose. */
  #chosen: number | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Number of the processor that registers and linear addresses are asked of: the chosen one, else the one whose turn it is. */
  get cpu(): number {
    return this.#chosen ?? this.#machine.currentProcessor;
  }

  /** For a stop reply: who stopped. */
  get where(): string {
    return `thread:${(this.#machine.currentProcessor + 1).toString(16)};`;
  }

  /** The machine runs on: the next stop says which thread is meant. */
  forget(): void {
    this.#chosen = undefined;
  }

  /** The processor of a thread in a packet; of none, any or all, the one that is asked anyway. */
  cpuOf(thread: string): number {
    const cpu = Number.parseInt(thread, 16) - 1;
    return cpu >= 0 && cpu < this.#machine.processors ? cpu : this.cpu;
  }

  /** `Hg`, `Hc`, `T`. False: there is no such thread. */
  packet(text: string): boolean {
    const thread = Number.parseInt(text.slice(text.startsWith('H') ? 2 : 1), 16);
    const isOne = thread > 0 && thread <= this.#machine.processors;
    if (text.startsWith('T')) return isOne;
    if (!isOne && thread !== 0 && thread !== -1) return false;
    if (text.startsWith('Hg')) this.#chosen = isOne ? thread - 1 : undefined;
    return true;
  }

  /** Undefined: the query is not about threads. */
  query(text: string): string | undefined {
    if (text === 'qC') return `QC${(this.#machine.currentProcessor + 1).toString(16)}`;
    if (text === 'qfThreadInfo') return `m${this.#numbers.map((n) => (n + 1).toString(16)).join(',')}`;
    if (text === 'qsThreadInfo') return 'l';
    if (text.startsWith('qThreadExtraInfo,'))
      return hexOf(Buffer.from(this.#about(this.cpuOf(text.slice('qThreadExtraInfo,'.length)))));
    return undefined;
  }

  get #numbers(): number[] {
    return Array.from({ length: this.#machine.processors }, (_, n) => n);
  }

  #about(cpu: number): string {
    const name = `CPU ${String(cpu)}`;
    return this.#machine.processors === 1
      ? name
      : `${name}, ${states[this.#machine.registers(cpu).halted] ?? 'waiting'}`;
  }

  /** The document of `qXfer:threads`. */
  get xml(): string {
    const threads = this.#numbers.map((n) => {
      const id = (n + 1).toString(16);
      return `<thread id="${id}" core="${String(n)}" name="CPU ${String(n)}">${this.#about(n)}</thread>\n`;
    });
    return `<?xml version="1.0"?>\n<threads>\n${threads.join('')}</threads>\n`;
  }
}
