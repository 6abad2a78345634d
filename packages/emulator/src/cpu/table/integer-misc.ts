/** NOP, PAUSE, fences, cache-line hints, random numbers. SDM Vol. 2. */
import * as x from '../../wasm/expr.ts';
import { CpuFeature } from '../layout.ts';
import { requireFeature } from './integer-move.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

const nothing: Semantics = () => undefined;

/** Memory is strongly ordered here: a fence only has to exist. */
const fence =
  (feature: number): Semantics =>
  (b) => {
    requireFeature(b, feature);
  };

/** CLFLUSH is subject to the checks of a byte load. */
const flushLine: Semantics = (b) => {
  requireFeature(b, CpuFeature.clflush);
  b.call('probeRead', b.linearAddress(1, 'read'), x.i32(1));
};

/** RDRAND and RDSEED: CF = 1, the other arithmetic flags 0. */
const random =
  (feature: number): Semantics =>
  (b) => {
    requireFeature(b, feature);
    b.write(0, b.narrow(b.callValue('i64', 'rdrand'), b.size));
    b.call('writeFlags', x.i32(1), x.i32(0x8d5));
  };

export const rows: RowDraft[] = [
  // Without REX.B, 90 is NOP (it does not clear the upper half of RAX) and F3 90 is PAUSE.
  row('90 noB', 'NOP', '', {}, nothing),
  row('F3 90 noB', 'PAUSE', '', { end: 'exit' }, (b) => {
    b.call('pause');
  }),
  row('NP 0F AE /5 reg', 'LFENCE', '', {}, fence(CpuFeature.sse2)),
  row('NP 0F AE /6 reg', 'MFENCE', '', {}, fence(CpuFeature.sse2)),
  row('NP 0F AE /7 reg', 'SFENCE', '', {}, fence(CpuFeature.sse)),
  row('NP 0F AE /7 mem', 'CLFLUSH', 'Mb', {}, flushLine),
  row('NP 0F C7 /6 reg', 'RDRAND', 'Rv', { end: 'exit' }, random(CpuFeature.rdrand)),
  row('66 0F C7 /6 reg', 'RDRAND', 'Rv', { end: 'exit' }, random(CpuFeature.rdrand)),
  row('NP 0F C7 /7 reg', 'RDSEED', 'Rv', { end: 'exit' }, random(CpuFeature.rdseed)),
  row('66 0F C7 /7 reg', 'RDSEED', 'Rv', { end: 'exit' }, random(CpuFeature.rdseed)),
];
