/** The notation of the instruction table, and the table as a whole. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { assignHandlers, buildDecodeTables } from '../decode-tables.ts';
import { isHot } from '../hot-handlers.ts';
import { instructionTable } from './index.ts';
import { memoryOperandIndex, row } from './row.ts';

const nothing = (): void => undefined;

describe('notation of the instruction table', () => {
  test('prefix, maps, digit and fixed ModRM', () => {
    const crc = row('F2 0F 38 F1', 'CRC32', 'Gd,Ev', {}, nothing);
    assert.deepEqual([crc.encoding.prefix, crc.encoding.map, crc.encoding.opcode], ['F2', 2, 0xf1]);
    assert.equal(memoryOperandIndex(crc), 1);
    const shift = row('C1 /4', 'SHL', 'Ev,Ib', {}, nothing);
    assert.equal(shift.encoding.digit, 4);
    assert.deepEqual(shift.sizes, [2, 4, 8]);
    const load = row('D9 E8', 'FLD1', '', {}, nothing);
    assert.deepEqual([load.encoding.modrm, load.encoding.form], [0xe8, 'register']);
    assert.equal(row('90 noB', 'NOP', '', {}, nothing).encoding.rexB, 0);
  });

  test('mistakes are refused', () => {
    assert.throws(() => row('G1', 'X', '', {}, nothing), /no opcode byte/);
    assert.throws(() => row('01 /9', 'X', '', {}, nothing), /not in the notation/);
    assert.throws(() => row('01', 'X', 'Ef', {}, nothing), /operand Ef/);
  });
});

describe('instruction table', () => {
  const { slots, count } = assignHandlers(instructionTable);

  test('each handler has a slot of its own, below the width of a record field', () => {
    assert.equal(new Set(slots.map(({ slot }) => slot)).size, slots.length);
    assert.ok(slots.every(({ slot }) => slot < count) && count <= 0xffff);
  });

  test('the rows of two encodings never have the same conditions', () => {
    const seen = new Map<string, string>();
    for (const { encoding, options, mnemonic } of instructionTable) {
      const key = JSON.stringify([encoding, options.no64 === true, options.only64 === true]);
      assert.equal(seen.get(key), undefined, `${mnemonic} and ${seen.get(key) ?? ''}: ${key}`);
      seen.set(key, mnemonic);
    }
  });

  test('the run loop holds some hundred handlers, not all', () => {
    const hot = slots.filter(isHot).length;
    assert.ok(hot > 100 && hot < 600, String(hot));
  });

  test('decode tables index every opcode', () => {
    const { bases } = assignHandlers(instructionTable);
    const view = new DataView(buildDecodeTables(instructionTable, bases).buffer);
    const candidates = (map: number, opcode: number): number =>
      view.getUint32((map * 256 + opcode) * 4, true) & 0xff;
    for (let opcode = 0x50; opcode < 0x60; opcode++) assert.equal(candidates(0, opcode), 1);
    assert.ok(candidates(0, 0x80) >= 8);
    assert.equal(candidates(0, 0x0f), 0);
  });
});
