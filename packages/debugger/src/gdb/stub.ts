/**
 * GDB's remote serial protocol ("Debugging with GDB", appendix E) over a machine (target.ts). One connection; what it
 * set is gone when it ends. Packets in, packets out: sockets are the host's affair.
 *
 * Always: looking changes nothing. What a debugger writes is the target's affair, which makes it a part of the run. `k` and vKill end the
 * session and leave the machine alone: gdb sends them by itself (at the end of `gdb -batch`), and what ends a guest must be meant.
 */
import { hasAvx, type CpuState } from '@revenant/emulator';
import { pieces, readMemory, type AddressSpace } from './memory.ts';
import type { DebugTarget, Stop } from './target.ts';
import { HostFiles, type FileOf } from './files.ts';
import { Refusal } from './refusal.ts';
import type { Monitor } from './monitor.ts';
import { bytesOf, encodePacket, hexOf, maxPacketBytes, PacketReader, type WireEvent } from './packets.ts';
import { Points } from './points.ts';
import { linearRip, RegisterFile, type TargetArch } from './registers.ts';
import { Threads } from './threads.ts';

export interface StubOptions {
  target: DebugTarget;
  arch: TargetArch;
  /** To the other side. */
  send: (bytes: Uint8Array) => void;
  /** Ends the connection. */
  close: () => void;
  /** What `monitor …` does. */
  monitor: Monitor;
  /** Files that a debugger may read. */
  file?: FileOf;
  /** Milliseconds of the host: gdb takes silence of two seconds for a lost answer. */
  clock: () => number;
  /** Lets other things happen, such as bytes to come in, while the machine runs. */
  breathe: () => Promise<void>;
}

const ok = 'OK';
/** A `monitor` command that takes longer says so, with nothing. */
const aliveMs = 500;
const watchNames = { write: 'watch', read: 'rwatch', access: 'awatch' } as const;

type Answer = string | Uint8Array;
type Run = () => Generator<undefined, Stop>;

const features = [
  `PacketSize=${maxPacketBytes.toString(16)}`,
  'qXfer:features:read+',
  'qXfer:threads:read+',
  'QStartNoAckMode+',
  'swbreak+',
  'hwbreak+',
  'vContSupported+',
];
const backwards = ['ReverseStep+', 'ReverseContinue+'];
/** Packets that wait behind one that is being answered; gdb sends one at a time. */
const maxWaiting = 64;
/** Of a machine that lives these are its end; one with a past can go back from there. */
const lastStops: readonly Stop['kind'][] = ['halted', 'powerOff', 'shutdown', 'debugExit'];

export class GdbStub {
  readonly #options: StubOptions;
  readonly #reader = new PacketReader();
  readonly #registers: RegisterFile;
  readonly #points: Points;
  readonly #files: HostFiles;
  readonly #threads: Threads;
  #acknowledging = true;
  #last: Uint8Array | undefined;
  /** Memory is physical. */
  #physical = false;
  #stopReply: string;
  #interrupted = false;
  #interruptNext = false;
  #closed = false;
  #running = false;
  #waiting = 0;
  /** Packets are answered one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(options: StubOptions) {
    this.#options = options;
    const { model } = options.target.machine.description.cpu;
    this.#registers = new RegisterFile(options.arch, { avx: hasAvx(model) });
    this.#points = new Points(options.target.machine.stops);
    this.#threads = new Threads(options.target.machine);
    this.#stopReply = `T05${this.#threads.where}`;
    this.#files = new HostFiles(options.file ?? (() => Promise.resolve(undefined)));
  }

  get #machine(): DebugTarget['machine'] {
    return this.#options.target.machine;
  }

  /** What came from the other side. */
  receive(bytes: Uint8Array): void {
    for (const event of this.#reader.push(bytes)) this.#event(event);
  }

  /** Everything that was received has been answered. */
  async settled(): Promise<void> {
    await this.#work;
  }

  #event(event: WireEvent): void {
    switch (event.kind) {
      case 'interrupt':
        // It may come together with the packet that has the machine run.
        if (this.#waiting > 0) this.#interruptNext = true;
        this.#interrupted = true;
        return;
      case 'again':
        if (this.#last !== undefined) this.#options.send(this.#last);
        return;
      case 'damaged':
        if (this.#acknowledging) this.#options.send(Buffer.from('-'));
        return;
      case 'overlong':
        this.#options.close();
        return;
      case 'packet':
        if (this.#acknowledging) this.#options.send(Buffer.from('+'));
        // A packet while the machine runs: only a gdb that has given up waiting sends one.
        if (this.#running) this.#interrupted = true;
        if (++this.#waiting > maxWaiting) {
          this.#options.close();
          return;
        }
        this.#work = this.#work.then(() => this.#answer(event.bytes)).catch(() => this.#options.close());
    }
  }

  /** The connection is gone: the machine stands still, and nothing of it is left. */
  async disconnected(): Promise<void> {
    this.#closed = true;
    this.#interrupted = true;
    await this.#work;
    this.#points.clear();
  }

  #send(answer: Answer): void {
    const packet = encodePacket(typeof answer === 'string' ? Buffer.from(answer, 'latin1') : answer);
    this.#last = packet;
    if (!this.#closed) this.#options.send(packet);
  }

  /** Text on gdb's console, while it waits for an answer. */
  #say(text: string): void {
    this.#send(`O${hexOf(Buffer.from(text))}`);
  }

  async #answer(bytes: Uint8Array): Promise<void> {
    this.#waiting--;
    if (this.#closed) return;
    const text = Buffer.from(bytes).toString('latin1');
    const answer = await this.#handle(text, bytes);
    if (answer !== undefined) this.#send(answer);
  }

  async #handle(text: string, bytes: Uint8Array): Promise<Answer | undefined> {
    switch (text[0]) {
      case '?':
        return this.#stopReply;
      case '!':
        return ok;
      case 'H':
      case 'T':
        return this.#threads.packet(text) ? ok : Refusal.badRequest;
      case 'g':
        return this.#readAll();
      case 'G':
        return this.#writeAll(text.slice(1));
      case 'p':
        return this.#readOne(text.slice(1));
      case 'P':
        return this.#writeOne(text.slice(1));
      case 'm':
        return this.#readMemory(text.slice(1));
      case 'M':
      case 'X':
        return this.#writeMemory(text, bytes);
      case 'Z':
      case 'z':
        return this.#points.packet(text);
      case 'c':
      case 's':
        return this.#resume(text);
      case 'b':
        return this.#runBack(text);
      case 'R':
        return undefined;
      case 'D':
        this.#send(ok);
        this.#options.close();
        return undefined;
      case 'k':
        this.#options.close();
        return undefined;
      case 'v':
        return this.#verbose(text);
      case 'q':
      case 'Q':
        return this.#query(text);
      default:
        return '';
    }
  }

  // --- registers ---

  /** Registers of the chosen thread's processor. */
  get #cpu(): CpuState {
    return this.#machine.registers(this.#threads.cpu);
  }

  #readAll(): string {
    const cpu = this.#cpu;
    return this.#registers.registers
      .map((register) => hexOf(this.#registers.read(register, cpu, this.#machine)))
      .join('');
  }

  #readOne(text: string): string {
    const register = this.#registers.registers[Number.parseInt(text, 16)];
    if (register === undefined) return Refusal.badRequest;
    return hexOf(this.#registers.read(register, this.#cpu, this.#machine));
  }

  #write(values: { number: number; bytes: Uint8Array }[]): string {
    const before = this.#cpu;
    let changed = before;
    try {
      for (const { number, bytes } of values) {
        const register = this.#registers.registers[number];
        if (register === undefined) return Refusal.badRequest;
        const same = hexOf(this.#registers.read(register, before, this.#machine)) === hexOf(bytes);
        if (!same) changed = { ...changed, ...this.#registers.write(register, changed, bytes) };
      }
    } catch (error) {
      if (error instanceof RangeError) return Refusal.invalid;
      throw error;
    }
    // A gdb that writes what is there already must not begin another future.
    if (changed !== before) this.#options.target.setRegisters(changesOf(before, changed), this.#threads.cpu);
    return ok;
  }

  #writeOne(text: string): string {
    const [number = '', hex = ''] = text.split('=');
    const bytes = bytesOf(hex);
    return bytes === undefined
      ? Refusal.badRequest
      : this.#write([{ number: Number.parseInt(number, 16), bytes }]);
  }

  #writeAll(hex: string): string {
    const bytes = bytesOf(hex);
    if (bytes === undefined) return Refusal.badRequest;
    const values: { number: number; bytes: Uint8Array }[] = [];
    let at = 0;
    this.#registers.registers.forEach((register, number) => {
      const size = register.bits / 8;
      if (at + size <= bytes.length && register.set !== undefined)
        values.push({ number, bytes: bytes.subarray(at, at + size) });
      at += size;
    });
    return this.#write(values);
  }

  // --- memory ---

  get #space(): AddressSpace {
    return this.#physical ? 'physical' : this.#threads.cpu;
  }

  #readMemory(text: string): Answer {
    const [address = '', length = ''] = text.split(',');
    const size = Math.min(Number.parseInt(length, 16), (maxPacketBytes - 16) / 2);
    if (!/^[0-9a-f]+$/i.test(address) || !Number.isInteger(size)) return Refusal.badRequest;
    const bytes = readMemory(this.#machine, BigInt(`0x${address}`), size, this.#space);
    return bytes.length === 0 && size > 0 ? Refusal.fault : hexOf(bytes);
  }

  #writeMemory(text: string, packet: Uint8Array): Answer {
    const colon = text.indexOf(':');
    const [address = '', length = ''] = text.slice(1, colon).split(',');
    if (colon < 0 || !/^[0-9a-f]+$/i.test(address)) return Refusal.badRequest;
    const bytes = text.startsWith('X') ? packet.slice(colon + 1) : bytesOf(text.slice(colon + 1));
    if (bytes?.length !== Number.parseInt(length, 16)) return Refusal.badRequest;
    if (bytes.length === 0) return ok;
    const at = BigInt(`0x${address}`);
    const before = readMemory(this.#machine, at, bytes.length, this.#space);
    if (before.length < bytes.length) return Refusal.fault;
    if (hexOf(before) === hexOf(bytes)) return ok;
    for (const piece of pieces(this.#machine, at, bytes, this.#space))
      this.#options.target.writePhysical(piece.address, piece.bytes);
    return ok;
  }

  // --- running ---

  async #resume(text: string): Promise<undefined> {
    const { target } = this.#options;
    const { cpu } = this.#threads;
    const address = text.slice(1);
    if (/^[0-9a-f]+$/i.test(address)) {
      const number = this.#registers.registers.findIndex(({ type }) => type === 'code_ptr');
      const bytes = this.#registers.read(
        {
          name: 'pc',
          bits: this.#registers.arch === 'x86-64' ? 64 : 32,
          type: '',
          get: () => BigInt(`0x${address}`),
        },
        this.#cpu,
        this.#machine,
      );
      this.#write([{ number, bytes }]);
    }
    await this.#run(() => (text.startsWith('s') ? this.#step(cpu) : target.forward()));
  }

  async #runBack(text: string): Promise<Answer | undefined> {
    const { past } = this.#options.target;
    if (past === undefined) return '';
    if (text === 'bs') await this.#run(() => past.stepBack());
    else if (text === 'bc') await this.#run(() => past.back());
    else return '';
    return undefined;
  }

  /** Until a processor has executed one instruction, or something stops before. */
  *#step(cpu: number): Generator<undefined, Stop> {
    const { target } = this.#options;
    for (;;) {
      const stop = yield* target.forward(target.count + 1n);
      if (stop.kind !== 'step' || this.#machine.currentProcessor === cpu) return stop;
      if (this.#machine.atBreakpoint) return { kind: 'breakpoint' };
    }
  }

  /** `vCont;r` from `start` to `end`: steps as long as the next instruction lies there, with one answer. */
  *#range(cpu: number, start: bigint, end: bigint): Generator<undefined, Stop> {
    for (let first = true; ; first = false) {
      if (!first && this.#machine.atBreakpoint) return { kind: 'breakpoint' };
      const stop = yield* this.#step(cpu);
      if (stop.kind !== 'step') return stop;
      const rip = linearRip(this.#machine.registers(cpu));
      if (rip < start || rip >= end) return stop;
    }
  }

  async #run(run: Run): Promise<void> {
    const { breathe } = this.#options;
    this.#interrupted = this.#interruptNext;
    this.#interruptNext = false;
    this.#running = true;
    this.#threads.forget();
    const steps = run();
    let stop: Stop | undefined;
    try {
      while (stop === undefined) {
        const step = steps.next();
        if (step.done === true) stop = step.value;
        else await breathe();
        if (this.#interrupted) break;
      }
    } finally {
      steps.return({ kind: 'step' });
      this.#running = false;
    }
    this.#stopReply = stop === undefined ? `T02${this.#threads.where}` : this.#replyTo(stop);
    this.#send(this.#stopReply);
  }

  #replyTo(stop: Stop): string {
    const endings: Partial<Record<Stop['kind'], string>> = {
      halted: 'the processor is halted for good: HLT with interrupts off',
      idle: 'the machine waits for an input',
      powerOff: 'the guest switched the machine off',
      shutdown: 'a triple fault: the processor shut down',
      reset: 'the guest reset the machine',
      debugExit: `the guest ended the run with status ${stop.status ?? 0}`,
    };
    const ending = endings[stop.kind];
    if (ending !== undefined) this.#say(`${ending}\n`);
    if (this.#options.target.past === undefined && lastStops.includes(stop.kind)) return 'W00';
    return `T05${this.#threads.where}${this.#reason(stop)}`;
  }

  #reason({ kind, watch }: Stop): string {
    switch (kind) {
      case 'begin':
        return 'replaylog:begin;';
      case 'end':
        return 'replaylog:end;';
      case 'watchpoint':
        return watch === undefined
          ? ''
          : `${watchNames[watch.watchpoint.on]}:${BigInt.asUintN(64, watch.watchpoint.address).toString(16)};`;
      default:
        return this.#points.reasonAt(linearRip(this.#machine.registers()));
    }
  }

  // --- verbose packets and queries ---

  async #verbose(text: string): Promise<Answer | undefined> {
    if (text === 'vCont?') return 'vCont;c;C;s;S;r';
    if (text.startsWith('vCont;')) return this.#vCont(text.slice(6));
    if (text.startsWith('vKill')) {
      this.#send(ok);
      this.#options.close();
      return undefined;
    }
    // There is but one program to attach to.
    if (text.startsWith('vAttach;')) return this.#stopReply;
    if (text.startsWith('vFile:')) return this.#files.answer(text);
    if (!text.startsWith('vRun')) return '';
    // `run` starts the record again.
    const { past } = this.#options.target;
    if (past === undefined) return Refusal.invalid;
    await this.#run(() => past.goTo(past.begin));
    return undefined;
  }

  /** The first action is the one that is meant: one thread can't go on without the others. */
  async #vCont(actions: string): Promise<Answer | undefined> {
    const { target } = this.#options;
    const [action = '', thread = ''] = actions.split(';')[0]?.split(':') ?? [];
    const cpu = this.#threads.cpuOf(thread);
    const range = /^r([0-9a-f]+),([0-9a-f]+)$/i.exec(action);
    if (range !== null) {
      const [start, end] = [BigInt(`0x${range[1] ?? '0'}`), BigInt(`0x${range[2] ?? '0'}`)];
      await this.#run(() => this.#range(cpu, start, end));
    } else if (/^[sS]/.test(action)) await this.#run(() => this.#step(cpu));
    else if (/^[cC]/.test(action)) await this.#run(() => target.forward());
    else return Refusal.badRequest;
    return undefined;
  }

  async #query(text: string): Promise<Answer | undefined> {
    if (text.startsWith('qSupported'))
      return [...features, ...(this.#options.target.past === undefined ? [] : backwards)].join(';');
    if (text === 'QStartNoAckMode') {
      this.#send(ok);
      this.#acknowledging = false;
      return undefined;
    }
    if (text === 'qAttached' || text.startsWith('qAttached:')) return '1';
    const threads = this.#threads.query(text);
    if (threads !== undefined) return threads;
    if (text.startsWith('qSymbol')) return ok;
    if (text.startsWith('qRcmd,')) return this.#command(text.slice(6));
    if (text.startsWith('qXfer:features:read:target.xml:')) return chunk(this.#registers.xml, text);
    if (text.startsWith('qXfer:threads:read::')) return chunk(this.#threads.xml, text);
    if (/^[qQ]qemu\.PhyMemMode/.test(text)) return this.#physicalMode(text);
    return '';
  }

  /** As QEMU has it: gdb's `maintenance packet Qqemu.PhyMemMode:1`. */
  #physicalMode(text: string): string {
    if (text.startsWith('q')) return this.#physical ? '1' : '0';
    this.#physical = text.endsWith(':1');
    return ok;
  }

  /** `monitor …`. What goes wrong is told as output: gdb shows the text of no error. */
  async #command(hex: string): Promise<Answer | undefined> {
    const line = Buffer.from(bytesOf(hex) ?? []).toString();
    if (/^physical( on| off)?$/.test(line)) {
      if (line !== 'physical') this.#physical = line.endsWith('on');
      this.#say(`memory is ${this.#physical ? 'physical' : 'virtual'}\n`);
      return ok;
    }
    const count = this.#options.target.count;
    const steps = this.#options.monitor(line);
    this.#interrupted = false;
    this.#running = true;
    let saidAt = this.#options.clock();
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) {
        for (const part of step.value.split(/(?<=\n)/)) if (part !== '') this.#say(part);
        break;
      }
      await this.#options.breathe();
      const now = this.#options.clock();
      if (now - saidAt > aliveMs) {
        saidAt = now;
        this.#say('');
      }
      if (!this.#interrupted) continue;
      steps.return('');
      this.#say('interrupted\n');
      break;
    }
    this.#running = false;
    if (this.#options.target.count !== count) {
      this.#stopReply = 'T05thread:1;';
      this.#say('the machine is elsewhere now: `flushregs` or a step makes gdb look again\n');
    }
    return ok;
  }
}

/** The registers that are not what they were. */
function changesOf(before: CpuState, after: CpuState): Partial<CpuState> {
  const names = Object.keys(after) as (keyof CpuState)[];
  return Object.fromEntries(
    names.filter((name) => after[name] !== before[name]).map((name) => [name, after[name]]),
  );
}

/** A part of a document, as `qXfer` asks for it: offset and length in hexadecimal at the end. */
function chunk(document: string, request: string): Answer {
  const [offset, length] = (request.split(':').at(-1) ?? '')
    .split(',')
    .map((part) => Number.parseInt(part, 16));
  if (offset === undefined || length === undefined || !Number.isInteger(offset + length))
    return Refusal.badRequest;
  const bytes = Buffer.from(document);
  const part = bytes.subarray(offset, offset + Math.min(length, maxPacketBytes / 2));
  return Buffer.concat([Buffer.from(offset + part.length < bytes.length ? 'm' : 'l'), part]);
}
