/** AES-NI, PCLMULQDQ, SHA, and the VEX forms of the first two: all in core/sse/sse-crypto.ts. SDM Vol. 2. */
import * as x from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import { beginSse, immediateByte } from './simd-common.ts';
import { fromScratch, scratchSource } from './sse-float.ts';
import { vexed } from './vex-view.ts';

const { aes, pclmulqdq, sha, vaes, vpclmulqdq, avx } = CpuFeature;

type Call = (b: InstructionBuilder) => void;

/** Destination (or first source) and source to the core function. */
const onBoth =
  (feature: number, call: Call): Semantics =>
  (b) => {
    beginSse(b, feature);
    const c = b.readVector(1);
    b.setField(Cpu.scratch, b.readVectorRegister(0), 16);
    b.setField(scratchSource, c, 16);
    call(b);
    b.writeVector(0, fromScratch(b));
  };
const onSource =
  (call: Call): Semantics =>
  (b) => {
    beginSse(b, aes);
    b.setField(scratchSource, b.readVector(1), 16);
    call(b);
    b.writeVector(0, fromScratch(b));
  };

const aligned = { aligned: true };
const rounds = (['AESENC', 'AESENCLAST', 'AESDEC', 'AESDECLAST'] as const).flatMap((name, n) => {
  const semantics = onBoth(aes, (b) => {
    b.call('sseAesRound', x.i32(n >> 1), x.i32(n & 1));
  });
  const opcode = `66 0F 38 D${'CDEF'[n] ?? ''}`;
  return [
    row(opcode, name, 'Vx,Wx', aligned, semantics),
    row(
      `VEX ${opcode}`,
      `V${name}`,
      'Vx,Hx,Wx',
      {},
      vexed(semantics, { reads: [1, 2], feature: aes + avx, feature256: vaes }),
    ),
  ];
});
const mixKey = onSource((b) => {
  b.call('sseAesMixKey');
});
const keyAssist = onSource((b) => {
  b.call('sseAesKeyAssist', immediateByte(b));
});
const multiply = onBoth(pclmulqdq, (b) => {
  b.call('sseCarrylessMultiply', immediateByte(b));
});
const onSha = (opcode: string, name: string, call: Call, operands = 'Vx,Wx'): RowDraft =>
  row(`NP 0F ${opcode}`, name, operands, aligned, onBoth(sha, call));

export const rows: RowDraft[] = [
  ...rounds,
  row('66 0F 38 DB', 'AESIMC', 'Vx,Wx', aligned, mixKey),
  row('VEX 66 0F 38 DB L0', 'VAESIMC', 'Vx,Wx', {}, vexed(mixKey, { reads: [], feature: aes + avx })),
  row('66 0F 3A DF', 'AESKEYGENASSIST', 'Vx,Wx,Ib', aligned, keyAssist),
  row(
    'VEX 66 0F 3A DF L0',
    'VAESKEYGENASSIST',
    'Vx,Wx,Ib',
    {},
    vexed(keyAssist, { reads: [], feature: aes + avx }),
  ),
  row('66 0F 3A 44', 'PCLMULQDQ', 'Vx,Wx,Ib', aligned, multiply),
  row(
    'VEX 66 0F 3A 44',
    'VPCLMULQDQ',
    'Vx,Hx,Wx,Ib',
    {},
    vexed(multiply, { reads: [1, 2, 3], feature: pclmulqdq + avx, feature256: vpclmulqdq }),
  ),
  ...(['SHA1NEXTE', 'SHA1MSG1', 'SHA1MSG2'] as const).map((name, n) =>
    onSha(`38 C${'89A'[n] ?? ''}`, name, (b) => {
      b.call('sseSha1Step', x.i32(n));
    }),
  ),
  onSha('38 CB', 'SHA256RNDS2', (b) => {
    const words = b.readVector0();
    const low = b.let(x.simd<'i32'>('i32', 27, [words], [0]));
    const high = b.let(x.simd<'i32'>('i32', 27, [words], [1]));
    b.call('sseSha256Rounds', low, high);
  }),
  onSha('38 CC', 'SHA256MSG1', (b) => {
    b.call('sseSha256Message', x.i32(0));
  }),
  onSha('38 CD', 'SHA256MSG2', (b) => {
    b.call('sseSha256Message', x.i32(1));
  }),
  onSha(
    '3A CC',
    'SHA1RNDS4',
    (b) => {
      b.call('sseSha1Rounds', immediateByte(b));
    },
    'Vx,Wx,Ib',
  ),
];
