/** Hooks: who wants to be called at what. The types are Unicorn's; addresses and 64-bit values are BigInt. */
import { UnicornError } from './errors.ts';
import * as uc from './generated/unicorn.ts';
import {
  UC_X86_INS_CPUID,
  UC_X86_INS_IN,
  UC_X86_INS_OUT,
  UC_X86_INS_SYSCALL,
  UC_X86_INS_SYSENTER,
} from './generated/x86.ts';
import type { Unicorn } from './unicorn.ts';

/** UC_HOOK_CODE and UC_HOOK_BLOCK. */
export type CodeCallback = (handle: Unicorn, address: bigint, size: number, userData: unknown) => void;
/** UC_HOOK_MEM_READ, _WRITE, _FETCH, _READ_AFTER: nothing is expected. Of unmapped and protected memory: true to go on. */
export type MemoryCallback = (
  handle: Unicorn,
  /** One of UC_MEM_. */
  type: number,
  address: bigint,
  size: number,
  /** Of a write, and behind a read; else 0. */
  value: bigint,
  userData: unknown,
) => unknown;
/** UC_HOOK_INTR. */
export type InterruptCallback = (handle: Unicorn, intno: number, userData: unknown) => void;
/** UC_HOOK_INSN_INVALID: true to go on. Of UC_HOOK_INSN: SYSCALL, SYSENTER; CPUID, where true skips the instruction. */
export type InstructionCallback = (handle: Unicorn, userData: unknown) => unknown;
/** UC_HOOK_INSN of IN: gives the value. */
export type InCallback = (handle: Unicorn, port: number, size: number, userData: unknown) => number;
/** UC_HOOK_INSN of OUT. */
export type OutCallback = (
  handle: Unicorn,
  port: number,
  size: number,
  value: number,
  userData: unknown,
) => void;
export type HookCallback =
  CodeCallback | MemoryCallback | InterruptCallback | InstructionCallback | InCallback | OutCallback;

export interface Hook {
  /** UC_HOOK_ bits. */
  readonly type: number;
  readonly callback: HookCallback;
  readonly userData: unknown;
  /** Linear addresses; everything when begin lies behind end. */
  readonly begin: bigint;
  readonly end: bigint;
  /** Of UC_HOOK_INSN: one of UC_X86_INS_. */
  readonly instruction: number;
}

const supported =
  uc.UC_HOOK_INTR |
  uc.UC_HOOK_INSN |
  uc.UC_HOOK_CODE |
  uc.UC_HOOK_BLOCK |
  uc.UC_HOOK_MEM_INVALID |
  uc.UC_HOOK_MEM_VALID |
  uc.UC_HOOK_MEM_READ_AFTER |
  uc.UC_HOOK_INSN_INVALID;
const instructions: readonly number[] = [
  UC_X86_INS_IN,
  UC_X86_INS_OUT,
  UC_X86_INS_SYSCALL,
  UC_X86_INS_SYSENTER,
  UC_X86_INS_CPUID,
];

const all = (hook: Hook): boolean => hook.begin > hook.end;

/** Whether a hook wants [address, address + size). */
export function covers(hook: Hook, address: bigint, size = 1n): boolean {
  return all(hook) || (address <= hook.end && address + size > hook.begin);
}

export class Hooks {
  readonly #hooks = new Set<Hook>();
  readonly #byType = new Map<number, readonly Hook[]>();
  /** Counts changes. */
  version = 0;

  add(hook: Hook): void {
    if (hook.type === 0 || (hook.type & ~supported) !== 0)
      throw new UnicornError(uc.UC_ERR_HOOK, `hook_add of type ${String(hook.type)}`);
    if ((hook.type & uc.UC_HOOK_INSN) !== 0 && !instructions.includes(hook.instruction))
      throw new UnicornError(uc.UC_ERR_HOOK, `hook_add of instruction ${String(hook.instruction)}`);
    this.#hooks.add(hook);
    this.#changed();
  }

  delete(hook: Hook): boolean {
    const had = this.#hooks.delete(hook);
    this.#changed();
    return had;
  }

  #changed(): void {
    this.version++;
    this.#byType.clear();
  }

  /** Those of a UC_HOOK_ bit, in the order in which they were added. */
  of(type: number): readonly Hook[] {
    let found = this.#byType.get(type);
    if (found === undefined) {
      found = [...this.#hooks].filter((hook) => (hook.type & type) !== 0);
      this.#byType.set(type, found);
    }
    return found;
  }

  ofInstruction(instruction: number): readonly Hook[] {
    return this.of(uc.UC_HOOK_INSN).filter((hook) => hook.instruction === instruction);
  }
}
