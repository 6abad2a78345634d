/** The VEX forms of SSE instructions, made from the rows of these. SDM Vol. 2; Vol. 1, chapter 14. */
import { CpuFeature } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, RowOptions } from './row.ts';
import { rows as convertRows } from './sse-convert.ts';
import { rows as floatRows } from './sse-float.ts';
import { rows as integerRows } from './sse-integer.ts';
import { rows as moveRows } from './sse-move.ts';
import { rows as shuffleRows } from './sse-shuffle.ts';
import type { VexForm } from './vex-view.ts';
import { vexed } from './vex-view.ts';

const { avx, avx2 } = CpuFeature;

const drafts = new Map(
  [...moveRows, ...integerRows, ...shuffleRows, ...floatRows, ...convertRows].map((draft) => [
    `${draft.opcodeText} ${draft.operands.map(({ text }) => text).join(',')}`,
    draft,
  ]),
);

/** An SSE row by its opcode and operands. */
export function sseRow(key: string): RowDraft {
  const draft = drafts.get(key);
  if (draft === undefined) throw new Error(`there is no SSE row ${key}`);
  return draft;
}

/** Destination, first source and second source apart; destination and source; shift of a register by an immediate. */
const three = [1, 2, 3];
const two: readonly number[] = [];
const shifted = [1, 2];

type Extra = Partial<VexForm> & Pick<RowOptions, 'aligned' | 'sizes'> & { tokens?: string };

/** The VEX form of the SSE row with this opcode and these operands: `operands` are its own. */
function derived(
  opcode: string,
  sse: string,
  operands: string,
  reads: readonly number[],
  extra: Extra = {},
): RowDraft {
  const { aligned, sizes, tokens = '', ...form } = extra;
  const draft = sseRow(`${opcode} ${sse}`);
  const options = { ...(aligned === true ? { aligned } : {}), ...(sizes === undefined ? {} : { sizes }) };
  const semantics = vexed(draft.semantics, { reads, feature: avx, ...form });
  return row(`VEX ${opcode} ${tokens}`.trimEnd(), `V${draft.mnemonic}`, operands, options, semantics);
}

const list = (text: string): string[] => text.split(/\s*\|\s*/);
const raises = { raises: true };
const integer = { feature256: avx2 };

/** `Vx,Wx` → `Vx,Hx,Wx`. */
const packed = (opcodes: string, extra: Extra = {}): RowDraft[] =>
  list(opcodes).map((opcode) => derived(opcode, 'Vx,Wx', 'Vx,Hx,Wx', three, extra));
const packedImmediate = (opcodes: string, extra: Extra = {}): RowDraft[] =>
  list(opcodes).map((opcode) => derived(opcode, 'Vx,Wx,Ib', 'Vx,Hx,Wx,Ib', three, extra));
const unary = (opcodes: string, extra: Extra = {}): RowDraft[] =>
  list(opcodes).map((opcode) => derived(opcode, 'Vx,Wx', 'Vx,Wx', two, extra));
const unaryImmediate = (opcodes: string, extra: Extra = {}): RowDraft[] =>
  list(opcodes).map((opcode) => derived(opcode, 'Vx,Wx,Ib', 'Vx,Wx,Ib', two, extra));

/** Scalars of singles (F3) and doubles (F2): `Vd,Wd` → `Vd,Hd,Wd`. */
const scalars = (opcodes: string): RowDraft[] =>
  list(opcodes).flatMap((opcode) => [
    derived(`F3 ${opcode}`, 'Vd,Wd', 'Vd,Hd,Wd', three),
    derived(`F2 ${opcode}`, 'Vq,Wq', 'Vq,Hq,Wq', three),
  ]);

const floating: RowDraft[] = [
  ...['58', '59', '5C', '5D', '5E', '5F'].flatMap((code) => packed(`NP 0F ${code} | 66 0F ${code}`, raises)),
  ...unary('NP 0F 51 | 66 0F 51', raises),
  ...scalars('0F 51 | 0F 58 | 0F 59 | 0F 5C | 0F 5D | 0F 5E | 0F 5F'),
  ...packed('66 0F 7C | F2 0F 7C | 66 0F 7D | F2 0F 7D | 66 0F D0 | F2 0F D0', raises),
  ...unary('NP 0F 52 | NP 0F 53'),
  derived('F3 0F 52', 'Vd,Wd', 'Vd,Hd,Wd', three),
  derived('F3 0F 53', 'Vd,Wd', 'Vd,Hd,Wd', three),
  ...unaryImmediate('66 0F 3A 08 | 66 0F 3A 09', raises),
  derived('66 0F 3A 0A', 'Vd,Wd,Ib', 'Vd,Hd,Wd,Ib', three),
  derived('66 0F 3A 0B', 'Vq,Wq,Ib', 'Vq,Hq,Wq,Ib', three),
  derived('NP 0F 2E', 'Vd,Wd', 'Vd,Wd', two),
  derived('66 0F 2E', 'Vq,Wq', 'Vq,Wq', two),
  derived('NP 0F 2F', 'Vd,Wd', 'Vd,Wd', two),
  derived('66 0F 2F', 'Vq,Wq', 'Vq,Wq', two),
  ...packed('NP 0F 14 | NP 0F 15 | NP 0F 54 | NP 0F 55 | NP 0F 56 | NP 0F 57'),
  ...packed('66 0F 14 | 66 0F 15 | 66 0F 54 | 66 0F 55 | 66 0F 56 | 66 0F 57'),
  ...packedImmediate('NP 0F C6'),
  ...packedImmediate('66 0F C6', { immediateShift: 2 }),
  ...packedImmediate('66 0F 3A 0C', { immediateShift: 4 }),
  ...packedImmediate('66 0F 3A 0D', { immediateShift: 2 }),
  ...packedImmediate('66 0F 3A 40', raises),
  ...packedImmediate('66 0F 3A 41', { tokens: 'L0' }),
];

const conversions: RowDraft[] = [
  derived('F3 0F 2A', 'Vd,Ey', 'Vd,Hd,Ey', three, { sizes: [4, 8] }),
  derived('F2 0F 2A', 'Vq,Ey', 'Vq,Hq,Ey', three, { sizes: [4, 8] }),
  ...['2C', '2D'].flatMap((code) => [
    derived(`F3 0F ${code}`, 'Gy,Wd', 'Gy,Wd', two, { sizes: [4, 8] }),
    derived(`F2 0F ${code}`, 'Gy,Wq', 'Gy,Wq', two, { sizes: [4, 8] }),
  ]),
  derived('F3 0F 5A', 'Vq,Wd', 'Vq,Hq,Wd', three),
  derived('F2 0F 5A', 'Vd,Wq', 'Vd,Hd,Wq', three),
  ...unary('NP 0F 5B | 66 0F 5B | F3 0F 5B', raises),
  derived('NP 0F 5A', 'Vx,Wq', 'Vx,Wxh', two, raises),
  derived('F3 0F E6', 'Vx,Wq', 'Vx,Wxh', two),
  ...['66 0F 5A', '66 0F E6', 'F2 0F E6'].map((opcode) =>
    derived(opcode, 'Vx,Wx', 'Vdq,Wx', two, { raises: true, narrows: true }),
  ),
];

const integers: RowDraft[] = [
  ...packed(
    [
      '60',
      '61',
      '62',
      '63',
      '64',
      '65',
      '66',
      '67',
      '68',
      '69',
      '6A',
      '6B',
      '6C',
      '6D',
      '74',
      '75',
      '76',
      'D4',
      'D5',
      'D8',
      'D9',
      'DA',
      'DB',
      'DC',
      'DD',
      'DE',
      'DF',
      'E0',
      'E3',
      'E4',
      'E5',
      'E8',
      'E9',
      'EA',
      'EB',
      'EC',
      'ED',
      'EE',
      'EF',
      'F4',
      'F5',
      'F6',
      'F8',
      'F9',
      'FA',
      'FB',
      'FC',
      'FD',
      'FE',
      '38 00',
      '38 01',
      '38 02',
      '38 03',
      '38 04',
      '38 05',
      '38 06',
      '38 07',
      '38 08',
      '38 09',
      '38 0A',
      '38 0B',
      '38 28',
      '38 29',
      '38 2B',
      '38 37',
      '38 38',
      '38 39',
      '38 3A',
      '38 3B',
      '38 3C',
      '38 3D',
      '38 3E',
      '38 3F',
      '38 40',
    ]
      .map((code) => `66 0F ${code}`)
      .join('|'),
    integer,
  ),
  ...unary('66 0F 38 1C | 66 0F 38 1D | 66 0F 38 1E', integer),
  ...packedImmediate('66 0F 3A 0E | 66 0F 3A 0F', integer),
  ...packedImmediate('66 0F 3A 42', { ...integer, immediateShift: 3 }),
  ...unaryImmediate('66 0F 70 | F2 0F 70 | F3 0F 70', integer),
  ...unary('66 0F 38 41', { tokens: 'L0' }),
  ...['D1', 'D2', 'D3', 'E1', 'E2', 'F1', 'F2', 'F3'].map((code) =>
    derived(`66 0F ${code}`, 'Vx,Wx', 'Vx,Hx,Wdq', three, integer),
  ),
  ...['71 /2', '71 /4', '71 /6', '72 /2', '72 /4', '72 /6', '73 /2', '73 /3', '73 /6', '73 /7'].map((code) =>
    derived(`66 0F ${code}`, 'Ux,Ib', 'Hx,Ux,Ib', shifted, integer),
  ),
  ...(
    [
      ['0', 'Wq', 'Wxh'],
      ['1', 'Wd', 'Wxq'],
      ['2', 'Ww', 'Wxe'],
      ['3', 'Wq', 'Wxh'],
      ['4', 'Wd', 'Wxq'],
      ['5', 'Wq', 'Wxh'],
    ] as const
  ).flatMap(([digit, sse, source]) => [
    derived(`66 0F 38 2${digit}`, `Vx,${sse}`, `Vx,${source}`, two, integer),
    derived(`66 0F 38 3${digit}`, `Vx,${sse}`, `Vx,${source}`, two, integer),
  ]),
];

const l0 = { tokens: 'L0' };
const wideStore = (opcode: string, extra: Extra = {}): RowDraft =>
  derived(opcode, 'Wx,Vx', 'Wx,Vx', two, extra);
const aligned = { aligned: true };

const moves: RowDraft[] = [
  ...unary('NP 0F 10 | 66 0F 10 | F3 0F 6F'),
  ...unary('NP 0F 28 | 66 0F 28 | 66 0F 6F', aligned),
  ...['NP 0F 11', '66 0F 11', 'F3 0F 7F'].map((opcode) => wideStore(opcode)),
  ...['NP 0F 29', '66 0F 29', '66 0F 7F'].map((opcode) => wideStore(opcode, aligned)),
  derived('F2 0F F0', 'Vx,Mx', 'Vx,Mx', two),
  derived('66 0F 38 2A', 'Vx,Mx', 'Vx,Mx', two, { ...aligned, feature256: avx2 }),
  ...['NP 0F 2B', '66 0F 2B', '66 0F E7'].map((opcode) => derived(opcode, 'Mx,Vx', 'Mx,Vx', two, aligned)),
  ...unary('F3 0F 12 | F3 0F 16'),
  ...(
    [
      ['F3', 'd'],
      ['F2', 'q'],
    ] as const
  ).flatMap(([prefix, s]) => [
    derived(`${prefix} 0F 10`, `V${s},W${s}`, `V${s},M${s}`, two, { tokens: 'mem' }),
    derived(`${prefix} 0F 10`, `V${s},W${s}`, `V${s},H${s},U${s}`, three, { tokens: 'reg' }),
    derived(`${prefix} 0F 11`, `W${s},V${s}`, `M${s},V${s}`, two, { tokens: 'mem' }),
    derived(`${prefix} 0F 11`, `W${s},V${s}`, `U${s},H${s},V${s}`, three, { tokens: 'reg' }),
  ]),
  ...['NP 0F 12', '66 0F 12', 'NP 0F 16', '66 0F 16'].map((opcode) =>
    derived(opcode, 'Vq,Mq', 'Vq,Hq,Mq', three, l0),
  ),
  ...['NP 0F 13', '66 0F 13', 'NP 0F 17', '66 0F 17'].map((opcode) =>
    derived(opcode, 'Mq,Vq', 'Mq,Vq', two, l0),
  ),
  derived('NP 0F 12', 'Vq,Uq', 'Vq,Hq,Uq', three, l0),
  derived('NP 0F 16', 'Vq,Uq', 'Vq,Hq,Uq', three, l0),
  derived('66 0F 6E', 'Vx,Ey', 'Vdq,Ey', two, { ...l0, sizes: [4, 8] }),
  derived('66 0F 7E', 'Ey,Vx', 'Ey,Vdq', two, { ...l0, sizes: [4, 8] }),
  derived('F3 0F 7E', 'Vx,Wq', 'Vdq,Wq', two, l0),
  derived('66 0F D6', 'Wq,Vq', 'Wq,Vq', two, l0),
  derived('66 0F F7', 'Vx,Ux', 'Vdq,Udq', two, l0),
  derived('NP 0F AE /2 mem', 'Md', 'Md', two, l0),
  derived('NP 0F AE /3 mem', 'Md', 'Md', two, l0),
];

const lanes: RowDraft[] = [
  derived('66 0F 3A 14 mem', 'Mb,Vx,Ib', 'Mb,Vdq,Ib', two, l0),
  derived('66 0F 3A 14 reg', 'Rd,Vx,Ib', 'Rd,Vdq,Ib', two, l0),
  derived('66 0F 3A 15', 'Ew,Vx,Ib', 'Ew,Vdq,Ib', two, l0),
  derived('66 0F 3A 17', 'Ed,Vx,Ib', 'Ed,Vdq,Ib', two, l0),
  derived('66 0F 3A 20 mem', 'Vx,Mb,Ib', 'Vdq,Hdq,Mb,Ib', three, l0),
  derived('66 0F 3A 20 reg', 'Vx,Rd,Ib', 'Vdq,Hdq,Rd,Ib', three, l0),
  derived('66 0F 3A 21', 'Vx,Wd,Ib', 'Vdq,Hdq,Wd,Ib', three, l0),
  derived('66 0F C4', 'Vx,Ew,Ib', 'Vdq,Hdq,Ew,Ib', three, l0),
  derived('66 0F C5', 'Gy,Ux,Ib', 'Gd,Udq,Ib', two, l0),
  row('VEX 66 0F 3A 16 L0', 'VPEXTRD', 'Ey,Vdq,Ib', {}, (b) => {
    const half = b.size === 8 ? sseRow('66 0F 3A 16 W1 Eq,Vx,Ib') : sseRow('66 0F 3A 16 W0 Ed,Vx,Ib');
    vexed(half.semantics, { reads: two, feature: avx })(b);
  }),
  row('VEX 66 0F 3A 22 L0', 'VPINSRD', 'Vdq,Hdq,Ey,Ib', {}, (b) => {
    const half = b.size === 8 ? sseRow('66 0F 3A 22 W1 Vx,Eq,Ib') : sseRow('66 0F 3A 22 W0 Vx,Ed,Ib');
    vexed(half.semantics, { reads: three, feature: avx })(b);
  }),
  ...(['60', '61'] as const).map((code) =>
    derived(`66 0F 3A ${code}`, 'Vx,Wx,Ib', 'Vdq,Wdq,Ib', two, { ...l0, sizes: [4, 8] }),
  ),
  ...(['62', '63'] as const).map((code) => derived(`66 0F 3A ${code}`, 'Vx,Wx,Ib', 'Vdq,Wdq,Ib', two, l0)),
];

export const rows: RowDraft[] = [...floating, ...conversions, ...integers, ...moves, ...lanes];
