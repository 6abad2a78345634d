/** Lengths that our decoder finds in a corpus. */
import { ModeKey } from '../../packages/emulator/src/cpu/layout.ts';
import { TestCpu } from '../../packages/emulator/src/cpu/testing/test-cpu.ts';
import type { Mode } from '../native/case.ts';
import { stride } from './corpus.ts';

export type CorpusDecoder = (mode: Mode, corpus: Uint8Array) => Int8Array;

const chunkBytes = 1 << 20;

/** Decodes every string of a corpus: bytes of the instruction, or 0 when it is undefined. */
export async function corpusDecoder(): Promise<CorpusDecoder> {
  const test = await TestCpu.create({ ramBytes: 2 * chunkBytes });
  const source = test.map.backingBase;
  return (mode, corpus) => {
    const lengths = new Int8Array(corpus.length / stride);
    const key =
      (mode === 64 ? ModeKey.code64 : mode === 32 ? ModeKey.code32 : ModeKey.code16) |
      ModeKey.flat |
      ModeKey.stack32;
    for (let start = 0; start < corpus.length; start += chunkBytes) {
      const chunk = corpus.subarray(start, Math.min(start + chunkBytes, corpus.length));
      test.map.bytes.set(chunk, source);
      for (let at = 0; at < chunk.length; at += stride) {
        const length = test.engine.core.decodeOnly(test.cpu, source + at, stride, key);
        lengths[(start + at) / stride] = length < 0 ? 0 : length;
      }
    }
    return lengths;
  };
}
