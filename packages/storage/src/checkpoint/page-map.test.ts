/** The map of where each page of a checkpoint is stored. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../errors.ts';
import { PackTable } from './pack-table.ts';
import type { PackRef } from './pack.ts';
import {
  applyRuns,
  emptyChanges,
  encodeRuns,
  firstPack,
  packBase,
  packZero,
  PageMap,
  type PageChanges,
} from './page-map.ts';

const pageCount = 40;
const space = { name: 'ram', pageSize: 4096, pageCount: pageCount };
const based = { ...space, base: 'image' };

const change = fc.record({
  page: fc.nat(pageCount - 1),
  pack: fc.integer({ min: 0, max: 6 }),
  slot: fc.nat(5),
});
const changesOf = fc
  .uniqueArray(change, { selector: ({ page }) => page, maxLength: 30 })
  .map((list): PageChanges => {
    const sorted = list.filter(({ pack }) => pack !== packBase).sort((a, b) => a.page - b.page);
    const changes = emptyChanges(sorted.length);
    for (const [i, { page, pack, slot }] of sorted.entries()) {
      changes.indexes[i] = page;
      changes.packs[i] = pack;
      changes.slots[i] = pack < firstPack ? 0 : slot;
    }
    return changes;
  });

test('full and delta maps come back from their runs', () => {
  fc.assert(
    fc.property(fc.array(changesOf, { minLength: 1, maxLength: 4 }), fc.boolean(), (steps, base) => {
      const map = new PageMap(base ? based : space);
      const back = new PageMap(base ? based : space);
      for (const step of steps) {
        map.apply(step);
        applyRuns(
          back,
          encodeRuns(map.space, step, (pack) => pack + 10),
          (number) => number - 10,
        );
        assert.deepEqual([back.packs, back.slots], [map.packs, map.slots]);
      }
      const full = new PageMap(base ? based : space);
      applyRuns(
        full,
        encodeRuns(map.space, map.everything(), (pack) => pack),
        (number) => number,
      );
      assert.deepEqual([full.packs, full.slots], [map.packs, map.slots]);
    }),
  );
});

test('consecutive pages in consecutive slots are one run', () => {
  const changes = emptyChanges(6);
  changes.indexes.set([4, 5, 6, 9, 10, 11]);
  changes.packs.set([2, 2, 2, packZero, packZero, 3]);
  changes.slots.set([7, 8, 9, 0, 0, 0]);
  const words = encodeRuns(space, changes, (pack) => pack);
  assert.deepEqual([...new Uint32Array(new Uint8Array(words).buffer)], [4, 3, 2, 7, 9, 2, 0, 0, 11, 1, 3, 0]);
});

test('runs out of range are refused', () => {
  const refuse = (...words: number[]): void => {
    const runs = new Uint8Array(Uint32Array.from(words).buffer);
    assert.throws(
      () => {
        applyRuns(new PageMap(space), runs, (number) => (number < 4 ? number : undefined));
      },
      (error) => isStorageError(error, 'STATE_INVALID'),
    );
  };
  refuse(39, 2, 2, 0);
  refuse(0, 1, 9, 0);
  refuse(0, 1, packBase, 0);
  refuse(0, 1, 2);
  refuse(0xffff_ffff, 0xffff_ffff, 2, 0);
});

test('the uses of packs are the same moved page by page and counted anew', () => {
  const refs = new Map(
    [2, 3, 4, 5, 6].map((number): [number, PackRef] => {
      const name = `p${String(number)}`;
      return [
        number,
        { name, bytes: 100, headBytes: 80, headHash: new Uint8Array(32), pages: 6, pageSize: 4096 },
      ];
    }),
  );
  fc.assert(
    fc.property(fc.array(changesOf, { maxLength: 6 }), (steps) => {
      const map = new PageMap(space);
      const table = new PackTable(refs, [map]);
      for (const step of steps) {
        map.apply(step, (from, to) => {
          table.move(from, to);
        });
        const anew = new PackTable(refs, [map]);
        assert.deepEqual(new Map([...table.uses].sort()), new Map([...anew.uses].sort()));
      }
    }),
  );
});
