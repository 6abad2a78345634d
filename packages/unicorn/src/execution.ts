/**
 * Runs a program, and calls hooks at their places. Where nothing is hooked code runs translated; hooked memory costs on its pages only, hooked code
 * of a few addresses where it is met; code and blocks that are hooked everywhere run instruction by instruction.
 *
 * Always: a hook is called between instructions, or from inside of one that is executed alone, so that the registers are those in front of it.
 */
import {
  AccessKind,
  Block,
  Cpu,
  Debug,
  EventKind,
  ExitReason,
  HostDuty,
  Record,
  Region,
  Segment,
  SegmentField,
  Vector,
  Watchpoint,
  hostFaultVector,
  pageBytes,
  segmentBytes,
  type CpuBlock,
  type EngineHostFunctions,
  type WasmEngine,
} from '@revenant/emulator/processor';
import { BlockWalk } from './block-walk.ts';
import { UnicornError } from './errors.ts';
import * as uc from './generated/unicorn.ts';
import {
  UC_X86_INS_CPUID,
  UC_X86_INS_IN,
  UC_X86_INS_OUT,
  UC_X86_INS_SYSCALL,
  UC_X86_INS_SYSENTER,
} from './generated/x86.ts';
import {
  covers,
  type CodeCallback,
  type Hook,
  type Hooks,
  type InCallback,
  type InstructionCallback,
  type InterruptCallback,
  type MemoryCallback,
  type OutCallback,
} from './hooks.ts';
import type { ProgramMemory } from './program-memory.ts';
import type { CodeBits } from './processor.ts';
import type { Unicorn } from './unicorn.ts';

/** Instructions between looks at the clock. */
const timedSlice = 200_000n;
const endless = 2n ** 62n;
/** Addresses of hooked code up to which each is a breakpoint; with those of the end there is room for more. */
const fewAddresses = 256;
const firstSigned = 2n ** 63n;

const errors = [
  [uc.UC_ERR_READ_UNMAPPED, uc.UC_ERR_WRITE_UNMAPPED, uc.UC_ERR_FETCH_UNMAPPED],
  [uc.UC_ERR_READ_PROT, uc.UC_ERR_WRITE_PROT, uc.UC_ERR_FETCH_PROT],
] as const;
const faultTypes = [
  [uc.UC_MEM_READ_UNMAPPED, uc.UC_MEM_WRITE_UNMAPPED, uc.UC_MEM_FETCH_UNMAPPED],
  [uc.UC_MEM_READ_PROT, uc.UC_MEM_WRITE_PROT, uc.UC_MEM_FETCH_PROT],
] as const;
const faultHooks = [
  [uc.UC_HOOK_MEM_READ_UNMAPPED, uc.UC_HOOK_MEM_WRITE_UNMAPPED, uc.UC_HOOK_MEM_FETCH_UNMAPPED],
  [uc.UC_HOOK_MEM_READ_PROT, uc.UC_HOOK_MEM_WRITE_PROT, uc.UC_HOOK_MEM_FETCH_PROT],
] as const;
const accessHooks = [
  { kind: AccessKind.read, type: uc.UC_MEM_READ, hook: uc.UC_HOOK_MEM_READ },
  { kind: AccessKind.write, type: uc.UC_MEM_WRITE, hook: uc.UC_HOOK_MEM_WRITE },
  { kind: AccessKind.readAfter, type: uc.UC_MEM_READ_AFTER, hook: uc.UC_HOOK_MEM_READ_AFTER },
] as const;

export interface RunLimits {
  /** Linear address in front of which the run ends. */
  until: bigint;
  /** Instructions, each repetition of a string instruction counted; 0n: no limit. */
  count: bigint;
  /** Milliseconds; 0: no limit. */
  timeoutMs: number;
}

export class Execution {
  readonly #handle: Unicorn;
  readonly #hooks: Hooks;
  /** Set by `attach`: the engine is made with this object's functions. */
  #engine!: WasmEngine;
  #block!: CpuBlock;
  #view!: DataView;
  #memory!: ProgramMemory;
  #bits: CodeBits = 64;
  #running = false;
  /** Within a callback in the middle of an instruction. */
  #inside = false;
  #stopped = false;
  /** What a callback threw: it goes on behind the instruction. */
  #thrown: { error: unknown } | undefined;
  /** Instruction pointer that a callback in the middle of an instruction wrote. */
  #nextPointer: bigint | undefined;
  /** Accesses of the instruction at this count that hooks were told of; it may be executed again once a hook has mapped memory. */
  #told: { count: bigint; accesses: string[]; again: string[] } = { count: -1n, accesses: [], again: [] };
  /** Version of the hooks, and `until`, that the processor's lists are made of. */
  #listed = { version: -1, until: 0n };
  #stepsAll = false;
  timedOut = false;
  #until = 0n;

  constructor(handle: Unicorn, hooks: Hooks) {
    this.#handle = handle;
    this.#hooks = hooks;
  }

  attach(parts: {
    engine: WasmEngine;
    block: CpuBlock;
    view: DataView;
    memory: ProgramMemory;
    bits: CodeBits;
  }): void {
    this.#engine = parts.engine;
    this.#block = parts.block;
    this.#view = parts.view;
    this.#memory = parts.memory;
    this.#bits = parts.bits;
  }

  get running(): boolean {
    return this.#running;
  }

  stop(): void {
    this.#stopped = true;
    if (this.#inside) this.#block.setWord(Cpu.exitRequest, ExitReason.requested);
  }

  /** The instruction pointer was written. */
  pointerWritten(): void {
    if (!this.#inside) return;
    this.#nextPointer = this.#block.wide(Cpu.rip);
    this.#block.setWord(Cpu.exitRequest, ExitReason.requested);
  }

  /** Linear address of the next instruction. */
  get address(): bigint {
    const rip = this.#block.wide(Cpu.rip);
    if (this.#bits === 64) return BigInt.asUintN(64, rip);
    const base = this.#block.wide(Cpu.segments + Segment.cs * segmentBytes + SegmentField.base);
    return (rip + base) & 0xffff_ffffn;
  }

  // --- the run ---

  run(limits: RunLimits): void {
    this.#running = true;
    this.#stopped = false;
    this.timedOut = false;
    this.#until = limits.until;
    try {
      this.#loop(limits);
    } finally {
      this.#running = false;
      this.#block.setWord(Cpu.exitRequest, 0);
    }
  }

  #loop({ until, count, timeoutMs }: RunLimits): void {
    const end = timeoutMs > 0 ? performance.now() + timeoutMs : Infinity;
    let left = count > 0n ? count : endless;
    const block = new BlockWalk();
    for (let steps = 0; !this.#stopped; steps++) {
      const address = this.address;
      if (address === until || left <= 0n) return;
      if (end !== Infinity && (steps & 0xfff) === 0 && performance.now() >= end) {
        this.timedOut = true;
        return;
      }
      this.#list(until);
      if (this.#stepsAll) {
        if (!this.#tell(address, block)) continue;
        this.#step();
        left--;
      } else {
        const budget = end === Infinity || left < timedSlice ? left : timedSlice;
        const { reason, executed } = this.#runFreely(budget);
        left -= executed;
        if (end !== Infinity) steps = -1;
        if (reason === ExitReason.breakpoint && this.address !== until && !this.#stopped) {
          if (!this.#tell(this.address, undefined)) continue;
          this.#step();
          left--;
        }
      }
      this.#settle();
    }
  }

  #runFreely(budget: bigint): { reason: number; executed: bigint } {
    this.#block.setWide(Cpu.deadline, budget);
    this.#block.setWide(Cpu.remaining, budget);
    const reason = this.#engine.run(this.#block.address);
    return { reason, executed: this.#block.retired };
  }

  /** One instruction. */
  #step(): void {
    const cpu = this.#block.address;
    this.#block.setWide(Cpu.deadline, 1n);
    this.#block.setWide(Cpu.remaining, 1n);
    if (this.#engine.stepRaw(cpu) === 1) this.#engine.core.deliverEvent(cpu);
    this.#block.setWord(Cpu.exitRequest, 0);
  }

  /** Behind instructions: what callbacks left, what happened, the end by HLT. */
  #settle(): void {
    const thrown = this.#thrown;
    this.#thrown = undefined;
    if (this.#nextPointer !== undefined) {
      this.#block.setWide(Cpu.rip, this.#nextPointer);
      this.#nextPointer = undefined;
      this.#block.setWord(Cpu.hostVector, -1);
    }
    if (thrown !== undefined) throw thrown.error;
    const vector = this.#block.word(Cpu.hostVector);
    if (vector >= 0) {
      this.#block.setWord(Cpu.hostVector, -1);
      this.#event(vector);
    }
    if (this.#block.word(Cpu.halted) !== 0) {
      this.#block.setWord(Cpu.halted, 0);
      this.#stopped = true;
    }
  }

  // --- hooks of code ---

  /** Before the instruction at an address: hooks of its block and of code. False: something changed, look again. */
  #tell(address: bigint, walk: BlockWalk | undefined): boolean {
    let size: number;
    try {
      const record = this.#engine.core.findInstruction(this.#block.address);
      size = this.#view.getUint8(record + Record.length);
    } catch {
      return true; // The fetch faults: that is told when it is executed.
    }
    if (walk?.begins(address) === true && this.#hooks.of(uc.UC_HOOK_BLOCK).length > 0) {
      const bytes = this.#blockBytes(address);
      walk.enter(address, bytes);
      this.#call(uc.UC_HOOK_BLOCK, address, bytes);
    }
    if (!this.#stopped && this.address === address) this.#call(uc.UC_HOOK_CODE, address, size);
    walk?.at(address);
    return !this.#stopped && this.address === address;
  }

  #call(type: number, address: bigint, size: number): void {
    for (const hook of this.#hooks.of(type))
      if (covers(hook, address)) (hook.callback as CodeCallback)(this.#handle, address, size, hook.userData);
  }

  /** Of the block at an address, which ends at the run's end. */
  #blockBytes(address: bigint): number {
    const first = this.#engine.core.findBlock(this.#block.address);
    const bytes = this.#view.getUint32(
      this.#view.getUint32(first + Record.block, true) + Block.codeBytes,
      true,
    );
    const toEnd = this.#until - address;
    return toEnd > 0n && toEnd < bytes ? Number(toEnd) : bytes;
  }

  /** Makes the processor's lists of breakpoints and of watched memory, when hooks or `until` changed. */
  #list(until: bigint): void {
    const { version } = this.#hooks;
    if (version === this.#listed.version && until === this.#listed.until) return;
    this.#listed = { version, until };
    const code = this.#hooks.of(uc.UC_HOOK_CODE);
    const length = (hook: Hook): number =>
      hook.begin > hook.end || hook.end - hook.begin >= fewAddresses
        ? Infinity
        : Number(hook.end - hook.begin) + 1;
    const addresses = code.reduce((sum, hook) => sum + length(hook), 0);
    this.#stepsAll = addresses > fewAddresses || this.#hooks.of(uc.UC_HOOK_BLOCK).length > 0;
    const points = new Set([until]);
    if (!this.#stepsAll)
      for (const { begin, end } of code) for (let at = begin; at <= end; at++) points.add(at);
    this.#view.setUint32(Region.debug + Debug.breakpoints, points.size, true);
    [...points].forEach((at, n) => {
      this.#view.setBigUint64(Region.debug + Debug.breakpointList + n * 8, at, true);
    });
    this.#listMemory();
    this.#engine.core.debugChanged();
  }

  #listMemory(): void {
    let ranges = accessHooks.flatMap(({ kind, hook: type }) =>
      this.#hooks.of(type).flatMap((hook) => watched(hook, kind)),
    );
    if (ranges.length > Debug.watchpointsMax) {
      const kinds = ranges.reduce((all, range) => all | range.kinds, 0);
      ranges = [{ start: -firstSigned, end: firstSigned - 1n, kinds }];
    }
    this.#view.setUint32(Region.debug + Debug.watchpoints, ranges.length, true);
    ranges.forEach(({ start, end, kinds }, n) => {
      const at = Region.debug + Debug.watchList + n * Debug.watchBytes;
      this.#view.setBigInt64(at + Watchpoint.start, start, true);
      this.#view.setBigInt64(at + Watchpoint.end, end, true);
      this.#view.setUint32(at + Watchpoint.kinds, kinds, true);
      this.#view.setUint32(at + Watchpoint.physical, 0, true);
      this.#view.setUint32(at + Watchpoint.calls, 1, true);
    });
  }

  // --- events ---

  #event(vector: number): void {
    const kind = this.#block.word(Cpu.hostKind);
    if (vector === hostFaultVector) {
      this.#memoryFault();
      return;
    }
    if (vector === Vector.ud && kind === EventKind.exception) {
      const hooks = this.#hooks.of(uc.UC_HOOK_INSN_INVALID);
      const goesOn = hooks.some((hook) =>
        (hook.callback as InstructionCallback)(this.#handle, hook.userData),
      );
      if (!goesOn) this.#fail(uc.UC_ERR_INSN_INVALID);
      return;
    }
    const hooks = this.#hooks.of(uc.UC_HOOK_INTR);
    if (hooks.length === 0) this.#fail(uc.UC_ERR_EXCEPTION, ` ${String(vector)}`);
    for (const hook of hooks) (hook.callback as InterruptCallback)(this.#handle, vector, hook.userData);
  }

  /** The program reached memory that is not mapped, or not with this right: it goes on when a hook mapped it, or went elsewhere. */
  #memoryFault(): void {
    const access = this.#block.word(Cpu.hostErrorCode) as 0 | 1 | 2;
    // A run may end where there is no memory.
    if (access === 2 && this.address === this.#until) return;
    const linear = BigInt.asUintN(64, this.#block.wide(Cpu.faultAddress));
    const page = Number(linear / BigInt(pageBytes));
    const mapped = this.#memory.isMapped(page) ? 1 : 0;
    const size = access === 2 ? 1 : this.#block.word(Cpu.accessBytes);
    const value = access === 1 ? BigInt.asUintN(size * 8, this.#block.wide(Cpu.accessValue)) : 0n;
    const { address } = this;
    const type = faultTypes[mapped][access];
    const again = this.#told.accesses;
    const handled = this.#hooks
      .of(faultHooks[mapped][access])
      .some(
        (hook) =>
          covers(hook, linear) &&
          (hook.callback as MemoryCallback)(this.#handle, type, linear, size, value, hook.userData) === true,
      );
    if (this.#stopped && handled) return;
    if (!handled) this.#fail(errors[mapped][access], ` at 0x${linear.toString(16)}`);
    if (this.address !== address) return;
    if (this.#memory.translate(page, access) < 0)
      this.#fail(mapped === 0 ? uc.UC_ERR_MAP : errors[1][access], ` at 0x${linear.toString(16)}`);
    this.#told = { count: -1n, accesses: [], again };
  }

  #fail(errno: number, where = ''): never {
    throw new UnicornError(errno, `emu_start: 0x${this.address.toString(16)}${where}`);
  }

  // --- what the processor asks of its host ---

  host(): EngineHostFunctions {
    return {
      ioRead: (port, size) => this.#portRead(port, size),
      ioWrite: (port, size, value) => {
        this.#portWrite(port, size, value);
      },
      mmioRead: (low, high, size) => this.#deviceRead(low, high, size),
      mmioWrite: (low, high, size, value) => {
        const device = high === 0 ? this.#memory.deviceAt(low >>> 12, low & 0xfff) : undefined;
        this.#within(() => device?.callbacks.write?.(device.offset, size, value), undefined);
      },
      cpuEvent: () => undefined,
      pageIn: (page) => {
        this.#memory.pageIn(page);
      },
      translatePage: (low, high, access) =>
        this.#memory.translate((high >>> 0) * 2 ** 20 + (low >>> 12), access),
      memoryAccess: (low, high, size, kind, valueLow, valueHigh) => {
        this.#access(pair(low, high), size, kind, pair(valueLow, valueHigh));
      },
      instruction: (duty) => this.#instruction(duty),
    };
  }

  /** Calls back from the middle of an instruction: what is thrown waits for its end. */
  #within<T>(call: () => T, otherwise: T): T {
    const outer = this.#inside;
    this.#inside = true;
    try {
      return call();
    } catch (error) {
      this.#thrown ??= { error };
      this.#block.setWord(Cpu.exitRequest, ExitReason.requested);
      return otherwise;
    } finally {
      this.#inside = outer;
    }
  }

  #access(address: bigint, size: number, kind: number, value: bigint): void {
    const access = accessHooks.find((each) => each.kind === kind);
    if (access === undefined) return;
    const count = this.#block.retired;
    if (this.#told.count !== count)
      this.#told = { count, accesses: [], again: this.#told.count === -1n ? this.#told.again : [] };
    const what = `${String(kind)} ${String(address)} ${String(size)}`;
    this.#told.accesses.push(what);
    if (this.#told.again[0] === what) {
      this.#told.again.shift();
      return;
    }
    this.#told.again = [];
    this.#within(() => {
      const shown = kind === AccessKind.read ? 0n : value;
      for (const hook of this.#hooks.of(access.hook))
        if (covers(hook, address, BigInt(size)))
          (hook.callback as MemoryCallback)(this.#handle, access.type, address, size, shown, hook.userData);
    }, undefined);
  }

  #portRead(port: number, size: number): number {
    return this.#within(() => {
      const [hook] = this.#hooks.ofInstruction(UC_X86_INS_IN);
      return hook === undefined
        ? 0
        : (hook.callback as InCallback)(this.#handle, port, size, hook.userData) | 0;
    }, 0);
  }

  #portWrite(port: number, size: number, value: number): void {
    this.#within(() => {
      for (const hook of this.#hooks.ofInstruction(UC_X86_INS_OUT))
        (hook.callback as OutCallback)(this.#handle, port, size, value, hook.userData);
    }, undefined);
  }

  #deviceRead(low: number, high: number, size: number): number {
    const device = high === 0 ? this.#memory.deviceAt(low >>> 12, low & 0xfff) : undefined;
    return this.#within(() => (device?.callbacks.read?.(device.offset, size) ?? 0) | 0, 0);
  }

  /** SYSCALL and SYSENTER do nothing but call hooks; CPUID is skipped when one says so. */
  #instruction(duty: number): number {
    const instruction =
      duty === HostDuty.syscall
        ? UC_X86_INS_SYSCALL
        : duty === HostDuty.sysenter
          ? UC_X86_INS_SYSENTER
          : UC_X86_INS_CPUID;
    return this.#within(() => {
      let skips = instruction !== UC_X86_INS_CPUID;
      for (const hook of this.#hooks.ofInstruction(instruction)) {
        const answer = (hook.callback as InstructionCallback)(this.#handle, hook.userData);
        skips ||= Boolean(answer);
      }
      return skips ? 1 : 0;
    }, 1);
  }
}

const pair = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

/** A hook's range as the processor compares addresses: signed, the end exclusive. */
function watched(hook: Hook, kinds: number): { start: bigint; end: bigint; kinds: number }[] {
  if (hook.begin > hook.end) return [{ start: -firstSigned, end: firstSigned - 1n, kinds }];
  const signed = (from: bigint, to: bigint): { start: bigint; end: bigint; kinds: number } => ({
    start: BigInt.asIntN(64, from),
    end: BigInt.asIntN(64, to) + 1n,
    kinds,
  });
  if (hook.begin < firstSigned && hook.end >= firstSigned)
    return [signed(hook.begin, firstSigned - 2n), signed(firstSigned, hook.end)];
  return [signed(hook.begin, hook.end === firstSigned - 1n ? hook.end - 1n : hook.end)];
}
