/**
 * Unicorn's interface over our processor, for Node.
 *
 * @example
 * const mu = new Unicorn(UC_ARCH_X86, UC_MODE_32);
 * mu.mem_map(0x1000000, 2 * 1024 * 1024);
 * mu.mem_write(0x1000000, [0x41, 0x4a]); // INC ECX; DEC EDX
 * mu.reg_write(UC_X86_REG_ECX, 0x1234);
 * mu.emu_start(0x1000000, 0x1000002);
 * mu.reg_read(UC_X86_REG_ECX); // 0x1235
 */
import { compileRegion, loadEngineModules } from '@revenant/emulator/host-node';
import { strerror } from './errors.ts';
import * as constants from './generated/unicorn.ts';
import * as x86 from './generated/x86.ts';
import type { ProcessorOptions } from './processor.ts';
import { Unicorn as Emulator } from './unicorn.ts';

export { UnicornError, strerror } from './errors.ts';
export * from './generated/unicorn.ts';
export * from './generated/x86.ts';
export type {
  CodeCallback,
  Hook,
  HookCallback,
  InCallback,
  InstructionCallback,
  InterruptCallback,
  MemoryCallback,
  OutCallback,
} from './hooks.ts';
export type { ProcessorOptions } from './processor.ts';
export type { MemoryRegion } from './program-memory.ts';
export type { RegisterInput, RegisterValue } from './register-file.ts';
export type { SystemTable } from './system-registers.ts';
export type { Address, Context } from './unicorn.ts';

/** One emulator of a program. Its memory goes when nothing refers to it any more. */
export class Unicorn extends Emulator {
  /** Throws UC_ERR_ARCH for another architecture than UC_ARCH_X86, UC_ERR_MODE for another mode than UC_MODE_16, _32 or _64. */
  constructor(arch: number, mode: number, options: ProcessorOptions = {}) {
    super(arch, mode, { modules: loadEngineModules(), compileRegion }, options);
  }
}

/** Unicorn's version whose interface this is: `major << 8 | minor`. */
export function version(): number {
  return 2 << 8;
}

export function arch_supported(arch: number): boolean {
  return arch === constants.UC_ARCH_X86;
}

type Short<T> = { readonly [K in keyof T as K extends `UC_${infer Name}` ? Name : never]: T[K] };

function short<T extends object>(names: T): Short<T> {
  return Object.fromEntries(Object.entries(names).map(([name, value]) => [name.slice(3), value])) as Short<T>;
}

/** Everything under the names that unicorn.js gives it: `uc.Unicorn`, `uc.ARCH_X86`, `uc.X86_REG_EAX`. */
export const uc = { ...short(constants), ...short(x86), Unicorn, version, arch_supported, strerror } as const;
