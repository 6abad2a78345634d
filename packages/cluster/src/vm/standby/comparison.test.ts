/** Owner and standby are compared at each checkpoint, and a difference is found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Comparison, type Cut, type OwnSums } from './comparison.ts';

const pageCount = 8;
const memory = (change: Record<number, number> = {}): Record<string, Uint32Array> => ({
  ram: Uint32Array.from({ length: pageCount }, (_, page) => change[page] ?? 100 + page),
});
const pages = (change: Record<number, number>): OwnSums['pages'] => ({
  ram: {
    indexes: Uint32Array.from(Object.keys(change), Number),
    sums: Uint32Array.from(Object.values(change)),
  },
});
const cut = (at: number, whole: Record<number, number>, changed = whole): Cut => ({
  ...{ cut: at, rest: `rest ${String(at)}`, memory: memory(whole), pages: pages(changed) },
});
const sums = (at: number, before: number, change: Record<number, number>): OwnSums => ({
  ...{ cut: at, before, checkpoint: `1-${String(at)}`, rest: `rest ${String(at)}`, pages: pages(change) },
});
const begun = (): Comparison => new Comparison(cut(10, {}), '1-10');

test('two machines that do the same are alike at each checkpoint, whoever gets there first', () => {
  const comparison = begun();
  assert.equal(comparison.cut(cut(11, { 1: 5 })), undefined);
  assert.equal(comparison.checked, '1-10');
  assert.equal(comparison.said(sums(11, 10, { 1: 5 })), undefined);
  assert.equal(comparison.checked, '1-11');
  assert.equal(comparison.said(sums(12, 11, { 2: 6 })), undefined);
  assert.equal(comparison.cut(cut(12, { 1: 5, 2: 6 }, { 2: 6 })), undefined);
  assert.equal(comparison.checked, '1-12');
});

test('a page that nobody wrote and that changed is found, and so is one that was written differently', () => {
  const untouched = begun();
  untouched.said(sums(11, 10, { 1: 5 }));
  assert.equal(untouched.cut(cut(11, { 1: 5, 7: 0 }, { 1: 5 })), 'page 7 of ram');
  assert.equal(untouched.checked, '1-10');
  const written = begun();
  written.said(sums(11, 10, { 1: 5 }));
  assert.equal(written.cut({ ...cut(11, { 1: 6 }), memory: undefined }), 'page 1 of ram');
});

test('a register that differs is found', () => {
  const comparison = begun();
  comparison.said(sums(11, 10, {}));
  assert.equal(comparison.cut({ ...cut(11, {}), rest: 'another' }), 'processor or devices');
});

test('behind a gap in what the owner says the standby is believed once, and compared from then on', () => {
  const comparison = begun();
  comparison.said(sums(12, 11, { 1: 5 }));
  assert.equal(comparison.cut(cut(12, { 1: 5, 3: 9 })), undefined);
  assert.equal(comparison.checked, '1-10');
  comparison.said(sums(13, 12, {}));
  assert.equal(comparison.cut(cut(13, { 1: 5, 3: 9, 4: 1 }, {})), 'page 4 of ram');
});

test('of a standby, or an owner, that is far ahead nothing is missed', () => {
  for (const standbyFirst of [false, true]) {
    const comparison = begun();
    const last = 100;
    const say = (): void => {
      for (let at = 11; at <= last; at++) comparison.said(sums(at, at - 1, { [at % 4]: at }));
    };
    const run = (): string | undefined => {
      const whole: Record<number, number> = {};
      for (let at = 11; at <= last; at++) {
        whole[at % 4] = at;
        const flipped: Record<number, number> = at === last ? { 6: 1 } : {};
        const found = comparison.cut(cut(at, { ...whole, ...flipped }, { [at % 4]: at }));
        if (found !== undefined) return found;
      }
      return undefined;
    };
    if (standbyFirst) {
      run();
      const found = Array.from({ length: last - 10 }, (_, i) =>
        comparison.said(sums(11 + i, 10 + i, { [(11 + i) % 4]: 11 + i })),
      );
      assert.deepEqual(found.filter(Boolean), ['page 6 of ram']);
    } else {
      say();
      assert.equal(run(), 'page 6 of ram');
    }
    assert.equal(comparison.checked, '1-99');
  }
});

test('a standby with a disk that is far behind is not taken for another', () => {
  const disk = (page: number, sum: number): OwnSums['pages'] => ({
    disk0: { indexes: Uint32Array.of(page), sums: Uint32Array.of(sum) },
  });
  const last = 100;
  for (const standbyFirst of [false, true])
    for (const flipped of [false, true]) {
      const comparison = begun();
      const ofOwner = (at: number): OwnSums => ({ ...sums(at, at - 1, {}), pages: disk(at, at) });
      const ofStandby = (at: number): Cut => {
        const wrong = flipped && at === last ? 1 : 0;
        return { ...cut(at, {}), pages: disk(at, at + wrong) };
      };
      const all = Array.from({ length: last - 10 }, (_, i) => 11 + i);
      const say = (): (string | undefined)[] => all.map((at) => comparison.said(ofOwner(at)));
      const run = (): (string | undefined)[] => all.map((at) => comparison.cut(ofStandby(at)));
      const found = standbyFirst ? [...run(), ...say()] : [...say(), ...run()];
      assert.deepEqual(found.filter(Boolean), flipped ? [`page ${String(last)} of disk0`] : []);
    }
});
