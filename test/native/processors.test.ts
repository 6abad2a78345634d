/** The table of processors, played by the emulated one: other models are told apart, and an unknown one gets the union. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { RegisterExt } from 'iced-x86';
import { type Case, vectorDone } from './case.ts';
import { emulatedExecutor } from './emulated.ts';
import { type Executor, fuzz } from './fuzz-rows.ts';
import { gprNumber } from './generate.ts';
import { observeFacts } from './observe.ts';
import {
  emulatedFacts,
  emulatedHost,
  type Host,
  hostOf,
  leftOut,
  type ProcessorIdentity,
  processors,
} from './processors.ts';
import { allRows, decode } from './rows.ts';

const zen3: ProcessorIdentity = { vendor: 'AuthenticAMD', family: 25, model: 1 };
const zen4: ProcessorIdentity = { vendor: 'AuthenticAMD', family: 25, model: 17 };
const zen2: ProcessorIdentity = { vendor: 'AuthenticAMD', family: 23, model: 49 };
const sapphireRapids: ProcessorIdentity = { vendor: 'GenuineIntel', family: 6, model: 143 };

const zeroFlag = 0x40;
const vectorPage = 14;

const fpView = (c: Case): DataView => new DataView(c.fxsave.buffer, c.fxsave.byteOffset, 512);
const pending = (c: Case): boolean => (fpView(c).getUint16(2, true) & 0x80) !== 0;

/** What a model does otherwise: changes the state after an instruction. */
type Change = (mnemonic: string, start: Case, after: Case) => void;

const pointersOnlyWhenPending: Change = (_, _start, after) => {
  if (!pending(after)) after.fxsave.fill(0, 6, 24);
};
const pointersOf57Bits: Change = (mnemonic, _start, after) => {
  if (mnemonic === 'FXRSTOR64' && pending(after)) fpView(after).setUint16(14, 0x0123, true);
};
const compareKeepsC1: Change = (mnemonic, start, after) => {
  if (!/^FU?COMI/.test(mnemonic) || after.trap !== vectorDone) return;
  const c1 = fpView(start).getUint16(2, true) & 0x200;
  fpView(after).setUint16(2, (fpView(after).getUint16(2, true) & ~0x200) | c1, true);
};
const bitScanClears: Change = (mnemonic, start, after) => {
  if (!/^BS[FR]$/.test(mnemonic) || (after.rflags & zeroFlag) === 0) return;
  const { instruction } = decode(start.code, start.mode, start.startRip);
  if (RegisterExt.size(instruction.op0Register) !== 4) return;
  const number = gprNumber(instruction.op0Register);
  after.setGpr(number, after.gpr(number) & 0xffff_ffffn);
};
const maskedMoveLooksAtTheMask: Change = (mnemonic, _start, after) => {
  if (mnemonic.startsWith('MASKMOV') && after.trap === vectorPage) after.trap = vectorDone;
};

/** The emulated processor, made to behave as another one. */
function played(emulated: Executor, changes: readonly Change[]): Executor {
  return (batch) => {
    const after = emulated(batch);
    for (let i = 0; i < batch.length; i++) {
      const start = batch.at(i);
      const { instruction } = decode(start.code, start.mode, start.startRip);
      const mnemonic = mnemonics.get(instruction.code) ?? '';
      for (const change of changes) change(mnemonic, start, after.at(i));
    }
    return after;
  };
}

const rows = allRows().filter(({ mnemonic }) =>
  /^(FXRSTOR64|FADD|FCOMI|FUCOMIP|FCMOVB|BSF|MASKMOV|FBLD|F2XM1)/.test(mnemonic),
);
const mnemonics = new Map(rows.map((row) => [row.code, row.mnemonic]));

describe('the table of processors', () => {
  let emulated: Executor;
  before(async () => {
    emulated = await emulatedExecutor();
  });

  test('the emulated processor is the one that was decided on', () => {
    assert.deepEqual(observeFacts(emulated), emulatedFacts);
  });

  const failures = (host: Host, changes: readonly Change[]): string[] =>
    fuzz({ rows, casesPerRow: 60, seed: 5, native: played(emulated, changes), host, emulated, keep: 1 })
      .filter((result) => result.failed > 0)
      .map((result) => result.row.mnemonic);
  const amd = [pointersOnlyWhenPending, compareKeepsC1];

  test('a processor that does as ours is compared in everything', () => {
    assert.deepEqual(failures(emulatedHost, []), []);
    for (const change of [pointersOnlyWhenPending, pointersOf57Bits, compareKeepsC1, bitScanClears])
      assert.notDeepEqual(failures(emulatedHost, [change]), [], 'each change is seen');
    assert.notDeepEqual(failures(emulatedHost, [maskedMoveLooksAtTheMask]), []);
  });

  test('AMD family 25: model 1 keeps 48 bits of the x87 pointers, model 17 keeps 57', () => {
    assert.deepEqual(failures(hostOf(zen3), amd), []);
    assert.deepEqual(failures(hostOf(zen4), [...amd, pointersOf57Bits]), []);
    assert.deepEqual(failures(hostOf(zen3), [...amd, pointersOf57Bits]), ['FXRSTOR64']);
    // What the model is known to do is still compared.
    assert.deepEqual(failures(hostOf(zen4), [...amd, bitScanClears]), ['BSF']);
  });

  for (const identity of [zen2, sapphireRapids, { vendor: 'GenuineIntel', family: 25, model: 1 }]) {
    const host = hostOf(identity);
    test(`${host.name} is not in the table: everything in which makers differ is left out, and said`, () => {
      assert.equal(host.known, false);
      const everything = [...amd, pointersOf57Bits, bitScanClears, maskedMoveLooksAtTheMask];
      assert.deepEqual(failures(host, everything), []);
      assert.match(leftOut(host), /is not in test\/native\/processors\.ts: bits 48-63 .*MASKMOVDQU.*FBLD/);
      // The rest is compared there too.
      const wrongSum: Change = (mnemonic, _start, after) => {
        if (mnemonic === 'FADD') after.fxsave[36] = (after.fxsave[36] ?? 0) ^ 1;
      };
      assert.deepEqual([...new Set(failures(host, [wrongSum]))], ['FADD']);
    });
  }

  test('what the system of a host leaves no program do is not compared there, and said', () => {
    const host = hostOf(zen4, { modes: [64], anyStackPointer: false, newer: true });
    assert.match(
      leftOut(host),
      /its system does without: 16-bit code, 32-bit code, an RSP that is not canonical$/,
    );
    const otherwise: Change = (_, start, after) => {
      const stack = start.gpr(4);
      if (start.mode !== 64 || BigInt.asIntN(48, stack) !== BigInt.asIntN(64, stack)) after.trap = 13;
    };
    assert.deepEqual(failures(host, [...amd, otherwise]), []);
    assert.notDeepEqual(failures(hostOf(zen4), [...amd, otherwise]), []);
  });

  test('each row has a source and facts that differ from ours somewhere', () => {
    for (const row of processors) {
      assert.notEqual(row.source, '');
      const facts = Object.entries(row.facts);
      assert.ok(facts.some(([fact, value]) => emulatedFacts[fact as keyof typeof emulatedFacts] !== value));
      assert.ok(leftOut(hostOf(row)).startsWith(row.name));
    }
  });
});
