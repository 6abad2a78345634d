/** From a decoded instruction to text in Intel's syntax. */
import { operandBytes, type OperandSpec } from '../cpu/table/row.ts';
import { segmentNames, vvvvNumber, type CodeMode, type Decoded, type MemoryOperand } from './decode.ts';
import { mnemonicOf } from './mnemonics.ts';

const lowNames = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const oldByteNames = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'];
const newByteNames = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'];
const sizeNames: Partial<Record<number, string>> = {
  1: 'byte',
  2: 'word',
  4: 'dword',
  6: 'fword',
  8: 'qword',
  10: 'tbyte',
  16: 'xmmword',
  32: 'ymmword',
};

/** Digits up to 9 as they are, else hexadecimal. */
export function numberText(value: bigint): string {
  return value < 10n ? String(value) : `0x${value.toString(16)}`;
}

function registerName(number: number, bytes: number, rex: number): string {
  if (number >= 8) return `r${number}${bytes === 1 ? 'b' : bytes === 2 ? 'w' : bytes === 4 ? 'd' : ''}`;
  if (bytes === 1) return (rex === 0 ? oldByteNames : newByteNames)[number] ?? '';
  return (bytes === 2 ? '' : bytes === 4 ? 'e' : 'r') + (lowNames[number] ?? '');
}

function fileRegister(file: OperandSpec['file'], number: number, bytes: number, rex: number): string {
  switch (file) {
    case 'gpr':
      return registerName(number, bytes, rex);
    case 'segment':
      return segmentNames[number & 7] ?? '';
    case 'control':
      return `cr${number}`;
    case 'debug':
      return `dr${number}`;
    case 'mmx':
      return `mm${number & 7}`;
    case 'xmm':
      return `${bytes === 32 ? 'y' : 'x'}mm${number}`;
    case 'x87':
      return `st(${number & 7})`;
  }
}

/** Bytes of a gather's indices: with lanes half as wide as the values' half a vector is enough. */
function vectorIndexBytes({ row, size }: Decoded): number {
  const [, index, value] = /GATHER([DQ])(D|Q|PS|PD)$/.exec(row.mnemonic) ?? [];
  return index === 'D' && (value === 'Q' || value === 'PD') ? 16 : size;
}

/** @param next address of the following instruction */
function memoryText(memory: MemoryOperand, decoded: Decoded, next: bigint): string {
  const { addressBytes, prefixes } = decoded;
  const bits = addressBytes * 8;
  const segment = prefixes.segment === undefined ? '' : `${segmentNames[prefixes.segment] ?? ''}:`;
  if (memory.ripRelative)
    return `${segment}[rel ${numberText(BigInt.asUintN(bits, next + memory.displacement))}]`;
  const name = (register: number): string => registerName(register, addressBytes, 0x40);
  const parts: string[] = [];
  if (memory.base !== undefined) parts.push(name(memory.base));
  const vectors = decoded.row.operands.find(({ text }) => text.startsWith('X'));
  // The index is as wide as the vector but where the lanes of index and value differ.
  const indexName = (register: number): string =>
    vectors === undefined ? name(register) : `${vectorIndexBytes(decoded) === 32 ? 'y' : 'x'}mm${register}`;
  if (memory.index !== undefined)
    parts.push(indexName(memory.index) + (memory.scale === 0 ? '' : `*${1 << memory.scale}`));
  const { displacement } = memory;
  if (parts.length === 0) return `${segment}[${numberText(BigInt.asUintN(bits, displacement))}]`;
  const sum = parts.join('+');
  if (displacement === 0n) return `${segment}[${sum}]`;
  const sign = displacement < 0n ? '-' : '+';
  return `${segment}[${sum}${sign}${numberText(displacement < 0n ? -displacement : displacement)}]`;
}

/** Bytes that a memory operand names; undefined where only its address counts. */
function memoryBytes(operand: OperandSpec, decoded: Decoded): number | undefined {
  if (operand.text === 'Mp') return decoded.size + 2;
  return operand.bytes < 0 ? undefined : operandBytes(operand, decoded.size);
}

/** Where a relative jump goes. */
export function relativeTarget(decoded: Decoded, address: bigint, mode: CodeMode): bigint | undefined {
  if (!decoded.row.operands.some(({ place }) => place === 'relative')) return undefined;
  const bits = decoded.size === 2 ? 16 : mode === 64 ? 64 : 32;
  return BigInt.asUintN(bits, address + BigInt(decoded.length) + decoded.immediate);
}

function operandText(operand: OperandSpec, decoded: Decoded, address: bigint, mode: CodeMode): string {
  const { prefixes, modrm, size, memory } = decoded;
  const { rex } = prefixes;
  let bytes = operand.bytes < 0 ? size : operandBytes(operand, size);
  // Control and debug registers move as wide as the mode is.
  const wide = decoded.row.operands.some(({ file }) => file === 'control' || file === 'debug');
  if (wide) bytes = mode === 64 ? 8 : 4;
  switch (operand.place) {
    case 'rm':
    case 'memory':
    case 'offset':
    case 'register-rm': {
      if (memory === undefined || operand.place === 'register-rm')
        return fileRegister(operand.file, (modrm & 7) | ((rex & 1) << 3), bytes, rex);
      const named = memoryBytes(operand, decoded);
      const word = named === undefined ? undefined : sizeNames[named];
      const text = memoryText(memory, decoded, address + BigInt(decoded.length));
      return word === undefined ? text : `${word} ptr ${text}`;
    }
    case 'reg':
      return fileRegister(operand.file, ((modrm >> 3) & 7) | ((rex & 4) << 1), bytes, rex);
    case 'vvvv':
      return fileRegister(operand.file, vvvvNumber(prefixes, mode), bytes, rex);
    case 'is4':
      return fileRegister(operand.file, Number(decoded.immediate >> 4n) & (mode === 64 ? 15 : 7), bytes, rex);
    case 'opcode':
      return fileRegister(operand.file, (decoded.opcode & 7) | ((rex & 1) << 3), bytes, rex);
    case 'fixed':
      if (operand.text === '1') return '1';
      return operand.file === 'x87' ? 'st' : registerName(operand.fixed ?? 0, bytes, 0);
    case 'relative':
      return numberText(relativeTarget(decoded, address, mode) ?? 0n);
    case 'far':
      return `${numberText(BigInt(decoded.immediate2))}:${numberText(decoded.immediate)}`;
    case 'immediate':
      if (operand.text === 'Ib' && decoded.row.operands.some(({ text }) => text === 'Iw'))
        return numberText(BigInt(decoded.immediate2));
      if (operand.text === 'Ib' || operand.text === 'Iw') return numberText(decoded.immediate);
      return numberText(BigInt.asUintN(size * 8, decoded.immediate));
  }
}

// prettier-ignore
const pushedSegments: Partial<Record<number, string>> = {
  0x06: 'es', 0x07: 'es', 0x0e: 'cs', 0x16: 'ss', 0x17: 'ss', 0x1e: 'ds', 0x1f: 'ds', 0xa0: 'fs', 0xa1: 'fs', 0xa8: 'gs', 0xa9: 'gs',
};

/** Operands in Intel's order, separated by commas. */
export function operandsText(decoded: Decoded, address: bigint, mode: CodeMode): string {
  const { mnemonic, operands } = decoded.row;
  if ((mnemonic === 'PUSH' || mnemonic === 'POP') && operands.length === 0)
    return pushedSegments[decoded.opcode] ?? '';
  const texts = operands.map((operand) => operandText(operand, decoded, address, mode));
  // What the encoding implies matters here: D8 and DC go in opposite directions.
  if (operands.length === 1 && operands[0]?.text === 'STi') {
    if (/^F(ADD|MUL|SUB|DIV)/.test(mnemonic) && decoded.opcode >= 0xdc) texts.push('st');
    else if (/^F(ADD|MUL|SUB|DIV|CMOV|U?COMI)/.test(mnemonic)) texts.unshift('st');
  }
  return texts.join(', ');
}

/** The mnemonic with the prefixes that change what the instruction does. */
export function mnemonicText(decoded: Decoded, mode: CodeMode): string {
  const { row, prefixes, memory } = decoded;
  const words: string[] = [];
  if (prefixes.lock) words.push('lock');
  if (row.options.string === true && prefixes.repeat !== 0) {
    const compares = /^(CMPS|SCAS)/.test(row.mnemonic);
    words.push(prefixes.repeat === 0xf2 ? 'repne' : compares ? 'repe' : 'rep');
  }
  const implied = row.options.string === true || row.mnemonic === 'XLAT';
  if (implied && memory === undefined && prefixes.segment !== undefined)
    words.push(segmentNames[prefixes.segment] ?? '');
  words.push(mnemonicOf(decoded, mode));
  return words.join(' ');
}
