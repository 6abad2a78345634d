/** Our disassembler against iced-x86: length and validity of a corpus, and the text of every encoding. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { Decoder, Formatter, FormatterSyntax, MemorySizeOptions } from 'iced-x86';
import { disassemble, disassembleOne } from '@revenant/emulator';
import type { Mode } from '../native/case.ts';
import { Random } from '../native/random.ts';
import { allRows, encode } from '../native/rows.ts';
import { compareDecoders } from './compare.ts';
import { stride } from './corpus.ts';

const modes: readonly Mode[] = [16, 32, 64];
const address = 0x1000n;

/** What only iced-x86 or only we write out, for one and the same instruction. */
function withoutHabits(text: string): string {
  return text
    .replace(/\b(data16|data32|data64|addr16|addr32|hint-taken|hint-not-taken|bnd|xacquire|xrelease) /g, '')
    .replace(' short ', ' ')
    .replace(/\b[c-g]s:|\b[es]s:/g, '')
    .replace('[rel ', '[')
    .replace(/(\w+)\*1/, '$1')
    .replace(
      /^(rep |repe |repne )?(?:[c-gs]s )?((?:ins|outs|movs|cmps|stos|lods|scas)[bwdq])\b(?!.*xmm).*$/,
      '$1$2',
    )
    .replace(/\b(fpu|fxsave|fword|fpustate)\w* ptr /g, '')
    .replace(/^(f\w+) st, (\w+ ptr)/, '$1 $2')
    .replace(/^(f\w+ .*\]), st$/, '$1')
    .replace(/^(fcomp?|fucomp?|fxch|fld|fst|fstp|fstpnce) st, /, '$1 ')
    .replace(/^(fstp?|fstpnce) (st\S*), st$/, '$1 $2')
    .replaceAll('st(0)', 'st')
    .replace(/^(fcomp?|fucomp?|fxch|fmulp|fdivr?p|fsubr?p|faddp)( st\(1\)(, st)?)$/, '$1')
    .replace(/^retf?( far| word| dword| qword)*/, 'ret')
    .replace(/^(v?maskmov\w+ .*), .s$/, '$1')
    .replace(/^fwait/, 'wait')
    .replace(/^(?:[c-gs]s )?xlatb?.*/, 'xlatb')
    .replace(/^sal /, 'shl ')
    .replace(/^(imul (\w+)), \2,/, '$1,');
}

/** Instructions which iced-x86 writes in another way altogether: immediate predicates in the name, far pointers, hints, register widths. */
const otherHabits =
  /^(V?CMP(P|S)[SD]|BOUND|CALL|JMP|RESERVEDNOP|PREFETCH|LAR|LSL|V?PINSRW|V?PEXTRW|PAUSE|NOP|V?MOVMSKP|V?PMOVMSKB|CRC32|MOVSXD|V?PCMPESTR|V?PCLMUL)/;

describe('disassembler', () => {
  for (const mode of modes)
    test(`lengths as iced-x86 has them, ${mode}-bit`, () => {
      const ours = (_mode: Mode, corpus: Uint8Array): Int8Array => {
        const lengths = new Int8Array(corpus.length / stride);
        lengths.forEach((_, i) => {
          const { mnemonic, length } = disassembleOne(corpus.subarray(i * stride, (i + 1) * stride), mode);
          lengths[i] = mnemonic === '(bad)' ? 0 : length;
        });
        return lengths;
      };
      const { groups } = compareDecoders(ours, mode, 4, 60_000);
      assert.deepEqual(groups, []);
    });

  test('text as iced-x86 writes it', () => {
    const formatter = new Formatter(FormatterSyntax.Intel);
    formatter.hexPrefix = '0x';
    formatter.hexSuffix = '';
    formatter.uppercaseHex = false;
    formatter.spaceAfterOperandSeparator = true;
    formatter.memorySizeOptions = MemorySizeOptions.Always;
    formatter.leadingZeros = false;
    formatter.branchLeadingZeros = false;
    let compared = 0;
    const different: string[] = [];
    for (const mode of modes)
      for (const row of allRows().filter(
        (one) => one.modes.includes(mode) && !otherHabits.test(one.mnemonic),
      ))
        for (let seed = 0; seed < 4; seed++) {
          const bytes = encode(row, mode, address, new Random(seed * 7919 + compared))?.bytes;
          if (bytes === undefined) continue;
          const decoder = new Decoder(mode, bytes, 0);
          decoder.ip = address;
          const instruction = decoder.decode();
          const expected = withoutHabits(formatter.format(instruction));
          const got = withoutHabits(disassembleOne(bytes, mode, address).text);
          compared++;
          if (got !== expected)
            different.push(`${mode}-bit ${Buffer.from(bytes).toString('hex')}: ${expected}, ours ${got}`);
          instruction.free();
          decoder.free();
        }
    formatter.free();
    assert.deepEqual(different.slice(0, 20), []);
    assert.ok(compared > 10_000, `only ${compared} compared`);
  });

  test('a run of instructions, with targets and what is no instruction', () => {
    const bytes = Uint8Array.of(
      0xd8,
      0xc1,
      0xdc,
      0xc1,
      0x75,
      0xfa,
      0x48,
      0x8b,
      0x05,
      4,
      0,
      0,
      0,
      0x0f,
      0x0b,
      0x06,
      0xe8,
    );
    const all = [...disassemble(bytes, 64, 0x400000n)];
    assert.deepEqual(
      all.map(({ address: at, text }) => `${at.toString(16)} ${text}`),
      [
        '400000 fadd st, st(1)',
        '400002 fadd st(1), st',
        '400004 jne 0x400000',
        '400006 mov rax, qword ptr [rel 0x400011]',
        '40000d ud2',
        '40000f (bad)',
        '400010 (bad)',
      ],
    );
    assert.equal(all[2]?.target, 0x400000n);
  });
});
