/** Names of instructions whose mnemonic depends on a size, and the usual ones among the synonyms for conditions. */
import type { CodeMode, Decoded } from './decode.ts';

/** By operand size. */
const bySize: Partial<Record<string, Partial<Record<number, string>>>> = {
  CBW: { 2: 'cbw', 4: 'cwde', 8: 'cdqe' },
  CWD: { 2: 'cwd', 4: 'cdq', 8: 'cqo' },
  PUSHA: { 2: 'pusha', 4: 'pushad' },
  POPA: { 2: 'popa', 4: 'popad' },
  PUSHF: { 2: 'pushf', 4: 'pushfd', 8: 'pushfq' },
  POPF: { 2: 'popf', 4: 'popfd', 8: 'popfq' },
  IRET: { 2: 'iret', 4: 'iretd', 8: 'iretq' },
  SYSRET: { 4: 'sysret', 8: 'sysretq' },
  SYSEXIT: { 4: 'sysexit', 8: 'sysexitq' },
  MOVD: { 4: 'movd', 8: 'movq' },
  PINSRD: { 4: 'pinsrd', 8: 'pinsrq' },
  PEXTRD: { 4: 'pextrd', 8: 'pextrq' },
  VMOVD: { 4: 'vmovd', 8: 'vmovq' },
  VPINSRD: { 4: 'vpinsrd', 8: 'vpinsrq' },
  VPEXTRD: { 4: 'vpextrd', 8: 'vpextrq' },
  XSAVEOPT: { 8: 'xsaveopt64' },
  XSAVEC: { 8: 'xsavec64' },
  XLAT: { 4: 'xlatb' },
  FXSAVE: { 8: 'fxsave64' },
  FXRSTOR: { 8: 'fxrstor64' },
  XSAVE: { 8: 'xsave64' },
  XRSTOR: { 8: 'xrstor64' },
};
const stringSuffix: Partial<Record<number, string>> = { 2: 'w', 4: 'd', 8: 'q' };
const conditionNames: Partial<Record<string, string>> = {
  Z: 'e',
  NZ: 'ne',
  NBE: 'a',
  NB: 'ae',
  NLE: 'g',
  NL: 'ge',
};

/** In small letters. */
export function mnemonicOf({ row, size, addressBytes }: Decoded, mode: CodeMode): string {
  const { mnemonic, operands, options } = row;
  const sized = bySize[mnemonic]?.[size];
  if (sized !== undefined) return sized;
  if (options.string === true && !mnemonic.endsWith('B'))
    return mnemonic.toLowerCase() + (stringSuffix[size] ?? '');
  if (mnemonic === 'JRCXZ') return addressBytes === 8 ? 'jrcxz' : addressBytes === 4 ? 'jecxz' : 'jcxz';
  if (mnemonic === 'RET' || mnemonic === 'RETF') {
    const usual = mnemonic === 'RETF' ? (mode === 16 ? 2 : 4) : mode / 8;
    return (
      mnemonic.toLowerCase() +
      (size === usual ? '' : ` ${size === 2 ? 'word' : size === 4 ? 'dword' : 'qword'}`)
    );
  }
  const far = operands.some(({ text }) => text === 'Mp') && (mnemonic === 'CALL' || mnemonic === 'JMP');
  if (far) return `${mnemonic.toLowerCase()} far`;
  const condition = /^(J|SET|CMOV)(NBE|NLE|NZ|NB|NL|Z)$/.exec(mnemonic);
  if (condition !== null)
    return `${condition[1]?.toLowerCase() ?? ''}${conditionNames[condition[2] ?? ''] ?? ''}`;
  return mnemonic.toLowerCase();
}
