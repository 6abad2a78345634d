/** The built-in guest: made in memory from its source in images/builtin, so it is always there. */
import { builtinDigest, makeBuiltinKernel } from '../../../../images/builtin/kernel.ts';

export { builtinDigest };

export const builtinName = 'builtin';
export const builtinTitle = "Revenant's own 64-bit guest";
export const builtinMemoryBytes = 16 * 2 ** 20;

/** Kernel and settings of the built-in guest. */
export function builtinGuest(): {
  title: string;
  kernel: Uint8Array;
  commandLine: string;
  memoryBytes: number;
} {
  return {
    title: builtinTitle,
    kernel: makeBuiltinKernel(),
    commandLine: '',
    memoryBytes: builtinMemoryBytes,
  };
}
