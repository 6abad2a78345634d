/** What iced-x86 says about byte strings, for a processor of the x86-64-v3 model. */
import { Code, CodeExt, Decoder, DecoderOptions, Instruction } from 'iced-x86';
import type { Mode } from '../native/case.ts';
import { featuresOf, levelFeatures } from '../native/rows.ts';
import { stride } from './corpus.ts';

/** Encodings that are other instructions, or no-operations, on processors without the later features. */
const options = DecoderOptions.ForceReservedNop | DecoderOptions.NoWbnoinvd;

const inLevel = new Map<Code, boolean>();

export interface Decoded {
  /** Bytes of the instruction; 0 when it is invalid. */
  lengths: Uint8Array;
  codes: Uint16Array;
}

function isInLevel(instruction: Instruction): boolean {
  const code = instruction.code;
  let known = inLevel.get(code);
  if (known === undefined) {
    known = featuresOf(instruction).every((feature) => levelFeatures.has(feature));
    inLevel.set(code, known);
  }
  return known;
}

export function decodeByIced(mode: Mode, corpus: Uint8Array): Decoded {
  const count = corpus.length / stride;
  const lengths = new Uint8Array(count);
  const codes = new Uint16Array(count);
  const instruction = new Instruction();
  const decoder = new Decoder(mode, corpus, options);
  for (let i = 0; i < count; i++) {
    decoder.position = i * stride;
    decoder.decodeOut(instruction);
    codes[i] = instruction.code;
    lengths[i] = instruction.code !== Code.INVALID && isInLevel(instruction) ? instruction.length : 0;
  }
  decoder.free();
  instruction.free();
  return { lengths, codes };
}

/** Name of a code with what makes it unknown at our level, for messages. */
export function describeCode(code: Code): string {
  const instruction = new Instruction();
  instruction.code = code;
  const features = featuresOf(instruction).join('+');
  instruction.free();
  const info = CodeExt.opCode(code);
  const text = `${Code[code]} (${info.opCodeString}; ${features})`;
  info.free();
  return text;
}
