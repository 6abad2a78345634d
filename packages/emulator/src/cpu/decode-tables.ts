/**
 * The instruction table in the form that core/decode.ts walks, placed at Region.decodeTables by interpreter.wasm.
 * First an index of 7 maps (with a VEX prefix 4-6 for 0F, 0F 38, 0F 3A) × 256 opcodes (u32: byte offset of the candidates << 8 | their number), then candidates.
 */
import { formCount, memoryOperandIndex } from './table/row.ts';
import type { MandatoryPrefix, OperandSpec, Row } from './table/row.ts';
import { Candidate, CandidateFlag, ImmediateKind, RegisterFile, SpecialHandler } from './layout.ts';

export interface HandlerSlot {
  row: Row;
  size: number;
  form: number;
  slot: number;
}

const prefixCode: Record<MandatoryPrefix, number> = { any: 0, none: 1, '66': 2, F3: 3, F2: 4 };
const indexBytes = 7 * 256 * 4;

function immediateKind(r: Row): number {
  const texts = r.operands.map((o) => o.text);
  const has = (text: string): boolean => texts.includes(text);
  if (has('Iw') && has('Ib')) return ImmediateKind.iwIb;
  if (r.operands.some((o) => o.place === 'is4')) return ImmediateKind.ib;
  for (const [text, kind] of [
    ['Ib', ImmediateKind.ib],
    ['Ibs', ImmediateKind.ibs],
    ['Iw', ImmediateKind.iw],
    ['Iz', ImmediateKind.iz],
    ['Iv', ImmediateKind.iv],
    ['Ap', ImmediateKind.ap],
    ['Ob', ImmediateKind.moffs],
    ['Ov', ImmediateKind.moffs],
    ['Jb', ImmediateKind.ibs],
    ['Jz', ImmediateKind.jz],
  ] as const)
    if (has(text)) return kind;
  return ImmediateKind.none;
}

function registerFile(spec: OperandSpec | undefined): number {
  if (spec === undefined) return RegisterFile.none;
  if (spec.file === 'gpr') return spec.bytes === 1 ? RegisterFile.gpr8 : RegisterFile.gpr;
  return RegisterFile[spec.file];
}

/** Place of an opcode in the index. */
export const opcodeKey = ({ vex, map, opcode }: Row['encoding']): number =>
  (vex ? map + 3 : map) * 256 + opcode;

/** More specific candidates are tried first. */
export function specificity(r: Row): number {
  const e = r.encoding;
  return (
    (e.modrm !== undefined ? 16 : 0) +
    (e.prefix === 'any' || e.prefix === 'none' ? 0 : 8) +
    (e.digit !== undefined ? 4 : 0) +
    (e.form !== 'any' ? 2 : 0) +
    (e.rexW !== undefined || e.rexB !== undefined || e.vexL !== undefined ? 1 : 0)
  );
}

function writeCandidate(view: DataView, at: number, r: Row, handlerBase: number): void {
  const { encoding: e, options: o } = r;
  const rm = r.operands.find(
    (s) => s.place === 'rm' || s.place === 'memory' || s.place === 'register-rm' || s.place === 'opcode',
  );
  const reg = r.operands.find((s) => s.place === 'reg');
  const varies =
    o.fixedSize === undefined &&
    (r.sizes.length > 1 || o.sizes !== undefined || r.operands.some((s) => s.bytes === 0));
  const vvvv = r.operands.find((s) => s.place === 'vvvv')?.file;
  const vexFlags =
    (e.vexL === 0 ? CandidateFlag.l0 : 0) |
    (e.vexL === 1 ? CandidateFlag.l1 : 0) |
    (vvvv === 'gpr' ? CandidateFlag.vvvvGpr : 0) |
    (vvvv === 'xmm' ? CandidateFlag.vvvvVector : 0) |
    (r.operands.some((s) => s.place === 'is4') ? CandidateFlag.is4 : 0) |
    (r.operands.some((s) => s.text.startsWith('X')) ? CandidateFlag.vsib : 0) |
    (r.operands.some((s) => s.fraction !== undefined) ? CandidateFlag.vectorSize : 0);
  const sizeMask = r.sizes.reduce((mask, size) => mask | size, 0);
  const flags =
    (r.hasModrm ? CandidateFlag.hasModrm : 0) |
    (e.modrm !== undefined ? CandidateFlag.modrmFixed : 0) |
    (o.no64 === true ? CandidateFlag.no64 : 0) |
    (o.only64 === true ? CandidateFlag.only64 : 0) |
    (o.default64 === true ? CandidateFlag.default64 : 0) |
    (o.force64 === true ? CandidateFlag.force64 : 0) |
    (o.lock === true ? CandidateFlag.lock : 0) |
    (e.registerInOpcode ? CandidateFlag.registerInOpcode : 0) |
    (e.rexW === 0 ? CandidateFlag.w0 : 0) |
    (e.rexW === 1 ? CandidateFlag.w1 : 0) |
    (e.rexB === 0 ? CandidateFlag.b0 : 0) |
    (o.end === 'exit' ? CandidateFlag.exit : 0) |
    (o.end === 'branch' ? CandidateFlag.branch : 0) |
    (o.string === true ? CandidateFlag.string : 0) |
    (varies ? CandidateFlag.sizeVaries : 0) |
    (memoryOperandIndex(r) >= 0 ? CandidateFlag.memoryForms : 0);
  view.setUint8(at + Candidate.prefix, prefixCode[e.prefix]);
  view.setUint8(at + Candidate.form, e.form === 'any' ? 0 : e.form === 'memory' ? 1 : 2);
  view.setUint8(at + Candidate.digit, e.digit ?? 0xff);
  view.setUint8(at + Candidate.modrm, e.modrm ?? 0);
  view.setUint32(at + Candidate.flags, flags | vexFlags, true);
  view.setUint8(at + Candidate.immediate, immediateKind(r));
  view.setUint8(at + Candidate.sizes, sizeMask);
  view.setUint8(at + Candidate.regFile, registerFile(reg));
  view.setUint8(at + Candidate.rmFile, registerFile(rm));
  view.setUint16(at + Candidate.row, r.id, true);
  view.setUint16(at + Candidate.handler, handlerBase, true);
}

/** Slots of the function table for every row × size × form, after the special handlers. */
export function assignHandlers(rows: readonly Row[]): {
  slots: HandlerSlot[];
  bases: Map<number, number>;
  count: number;
} {
  const slots: HandlerSlot[] = [];
  const bases = new Map<number, number>();
  let next: number = SpecialHandler.count;
  for (const r of rows) {
    bases.set(r.id, next);
    const hasMemory = memoryOperandIndex(r) >= 0;
    for (const size of r.sizes) {
      for (let form = 0; form < (hasMemory ? formCount : 1); form++) {
        const possible =
          form === 0 ? r.encoding.form !== 'memory' && !r.operands.some((s) => s.place === 'offset') : true;
        if (possible) slots.push({ row: r, size, form, slot: next });
        next++;
      }
    }
  }
  if (next > 0xffff) throw new Error('more handlers than a record can name');
  return { slots, bases, count: next };
}

/** Bytes for Region.decodeTables. */
export function buildDecodeTables(rows: readonly Row[], bases: ReadonlyMap<number, number>): Uint8Array {
  const lists = new Map<number, Row[]>();
  for (const r of rows) {
    const span = r.encoding.registerInOpcode ? 8 : 1;
    for (let i = 0; i < span; i++) {
      const key = opcodeKey(r.encoding) + i;
      lists.set(key, [...(lists.get(key) ?? []), r]);
    }
  }
  const total = [...lists.values()].reduce((n, list) => n + list.length, 0);
  const bytes = new Uint8Array(indexBytes + total * Candidate.bytes);
  const view = new DataView(bytes.buffer);
  let at = indexBytes;
  for (const [key, list] of lists) {
    view.setUint32(key * 4, (at << 8) | list.length, true);
    for (const r of list.toSorted((a, b) => specificity(b) - specificity(a))) {
      writeCandidate(view, at, r, bases.get(r.id) ?? 0);
      at += Candidate.bytes;
    }
  }
  return bytes;
}
