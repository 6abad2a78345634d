/** The flag effects of our instruction table against iced-x86's, for every row and encoding. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Instruction, OpKind, RflagsBits } from 'iced-x86';
import { flagEffect } from '../../packages/emulator/src/cpu/table/flag-effects.ts';
import { instructionTable } from '../../packages/emulator/src/cpu/table/index.ts';
import { allRows } from './rows.ts';

// prettier-ignore
const places: readonly (readonly [number, number])[] = [
  [RflagsBits.OF, 0x800], [RflagsBits.SF, 0x80], [RflagsBits.ZF, 0x40], [RflagsBits.AF, 0x10], [RflagsBits.PF, 4], [RflagsBits.CF, 1],
];
const eflags = (bits: number): number =>
  places.reduce((mask, [from, to]) => mask | (bits & from ? to : 0), 0);

/** iced-x86's name of an instruction as our table has it. */
function ourName(mnemonic: string): string {
  const conditions: Readonly<Record<string, string>> = {
    AE: 'NB',
    E: 'Z',
    NE: 'NZ',
    A: 'NBE',
    GE: 'NL',
    G: 'NLE',
  };
  const [, kind, condition] = /^(J|SET|CMOV)(AE|E|NE|A|GE|G)$/.exec(mnemonic) ?? [];
  if (kind !== undefined && condition !== undefined) return `${kind}${conditions[condition] ?? condition}`;
  if (mnemonic === 'SAL') return 'SHL';
  return mnemonic.replace(/^(PUSHF|POPF|IRET|SYSRET|PCMP.STR.)(D|Q|64)$/, '$1');
}

test('every encoding reads, writes and leaves undefined the flags that iced-x86 says', () => {
  const names = new Set(instructionTable.map((row) => row.mnemonic));
  const instruction = new Instruction();
  let compared = 0;
  for (const row of allRows()) {
    const name = ourName(row.mnemonic);
    if (!names.has(name)) continue;
    instruction.code = row.code;
    // A count of 0 would have no effect.
    const immediate = /^(Ro|Rc|Sh|Sa)[lr]d?_.*_imm8$/.test(row.name);
    if (immediate) {
      instruction.setOpKind(instruction.opCount - 1, OpKind.Immediate8);
      instruction.immediate8 = 3;
    }
    const written = eflags(instruction.rflagsWritten | instruction.rflagsCleared | instruction.rflagsSet);
    const kind = /_(cr|dr)(_|$)/.test(row.name) ? 'system' : /xmm/.test(row.name) ? 'vector' : 'other';
    const effect = flagEffect(name, kind);
    const undefinedFlags = eflags(instruction.rflagsUndefined);
    const context = `${row.name} (${name})`;
    assert.equal(effect.read, eflags(instruction.rflagsRead), `${context}: read`);
    // OF of a shift is one of the two, by the count.
    assert.equal(effect.written, written & ~effect.perhaps, `${context}: written`);
    assert.equal(effect.undefined, undefinedFlags & ~effect.perhaps, `${context}: undefined`);
    if (effect.perhaps !== 0)
      assert.equal((written | undefinedFlags) & effect.perhaps, effect.perhaps, context);
    compared++;
  }
  assert.ok(compared > 1200, `${compared} encodings`);
});
