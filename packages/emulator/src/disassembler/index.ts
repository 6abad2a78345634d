/** A disassembler made of the instruction table: it knows exactly the instructions that the machine has. */
import { decode, type CodeMode } from './decode.ts';
import { mnemonicText, operandsText, relativeTarget } from './format.ts';

export type { CodeMode } from './decode.ts';

/** One instruction as text. */
export interface Disassembled {
  /** Of the first byte. */
  address: bigint;
  /** Bytes; 1 for `(bad)`. */
  length: number;
  bytes: Uint8Array;
  /** Mnemonic with LOCK and REP prefixes, in small letters; `(bad)` for what the machine would refuse with #UD, or what goes on behind the bytes. */
  mnemonic: string;
  /** In Intel's syntax: destination first. */
  operands: string;
  /** Mnemonic and operands. */
  text: string;
  /** Where a relative jump, call or loop goes. */
  target?: bigint;
}

/**
 * Disassembles the instruction at the start of `bytes`. Never throws: what is no instruction is one byte of `(bad)`.
 * @param address linear address of the first byte: for the targets of jumps and RIP-relative operands
 */
export function disassembleOne(bytes: Uint8Array, mode: CodeMode, address = 0n): Disassembled {
  const decoded = decode(bytes, mode);
  if (decoded === undefined)
    return { address, length: 1, bytes: bytes.slice(0, 1), mnemonic: '(bad)', operands: '', text: '(bad)' };
  const mnemonic = mnemonicText(decoded, mode);
  const operands = operandsText(decoded, address, mode);
  const target = relativeTarget(decoded, address, mode);
  return {
    address,
    length: decoded.length,
    bytes: bytes.slice(0, decoded.length),
    mnemonic,
    operands,
    text: operands === '' ? mnemonic : `${mnemonic} ${operands}`,
    ...(target === undefined ? {} : { target }),
  };
}

/** Disassembles from the start of `bytes` to their end, or `count` instructions. */
export function* disassemble(
  bytes: Uint8Array,
  mode: CodeMode,
  address = 0n,
  count = Infinity,
): Generator<Disassembled, void> {
  for (let at = 0, n = 0; at < bytes.length && n < count; n++) {
    const one = disassembleOne(bytes.subarray(at), mode, address + BigInt(at));
    yield one;
    at += one.length;
  }
}
