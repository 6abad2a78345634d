/** Finds and groups the differences between our decoder and iced-x86. */
import type { Mode } from '../native/case.ts';
import { makeCorpus, stride } from './corpus.ts';
import type { CorpusDecoder } from './emulated.ts';
import { decodeByIced, describeCode } from './iced.ts';
import { justification } from './justified.ts';

export interface DifferenceGroup {
  /** What iced-x86 decodes. */
  name: string;
  iced: string;
  ours: string;
  count: number;
  /** Bytes in hexadecimal. */
  example: string;
}

export interface DecodeComparison {
  strings: number;
  differences: number;
  /** Differences that the manual justifies (justified.ts). */
  justified: number;
  groups: DifferenceGroup[];
}

const chunkStrings = 1 << 16;

function lengthText(length: number): string {
  return length === 0 ? 'invalid' : `${length} bytes`;
}

/** Compares `count` strings of the corpus (mode, seed). */
export function compareDecoders(
  decoder: CorpusDecoder,
  mode: Mode,
  seed: number,
  count: number,
): DecodeComparison {
  const groups = new Map<string, DifferenceGroup>();
  const result: DecodeComparison = { strings: 0, differences: 0, justified: 0, groups: [] };
  for (let start = 0, chunk = 0; start < count; start += chunkStrings, chunk++) {
    const corpus = makeCorpus(mode, seed * 100_000 + chunk, Math.min(chunkStrings, count - start));
    const iced = decodeByIced(mode, corpus);
    const ours = decoder(mode, corpus);
    result.strings += ours.length;
    for (let i = 0; i < ours.length; i++) {
      const expected = iced.lengths[i] ?? 0;
      const got = ours[i] ?? 0;
      if (expected === got) continue;
      const bytes = corpus.subarray(i * stride, i * stride + 16);
      if (justification(mode, bytes, iced.codes[i] ?? 0, expected, got) !== undefined) {
        result.justified++;
        continue;
      }
      result.differences++;
      const name = describeCode(iced.codes[i] ?? 0);
      const key = `${name} ${expected === 0} ${got === 0}`;
      const group = groups.get(key);
      if (group !== undefined) group.count++;
      else {
        const example = Buffer.from(bytes.subarray(0, Math.max(expected, got, 4))).toString('hex');
        groups.set(key, { name, iced: lengthText(expected), ours: lengthText(got), count: 1, example });
      }
    }
  }
  result.groups = [...groups.values()].sort((a, b) => b.count - a.count);
  return result;
}
