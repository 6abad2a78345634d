/** The search for text in a guest's memory, across pages and in UTF-16. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { searchPages, textPatterns } from './search.ts';
import { InspectError, type CheckpointView } from './view.ts';

const pageSize = 4096;

/** Memory as a checkpoint shows it. */
function viewOf(bytes: Uint8Array): CheckpointView {
  const pageCount = bytes.length / pageSize;
  const page = (n: number): Uint8Array => bytes.subarray(n * pageSize, (n + 1) * pageSize);
  return {
    spaces: [{ name: 'ram', pageSize, pageCount }],
    state: { cpus: [] },
    present: () =>
      Uint32Array.from([...Array(pageCount).keys()].filter((n) => page(n).some((byte) => byte !== 0))),
    readPages: (_space, indexes) => Promise.resolve(Buffer.concat([...indexes].map(page))),
  };
}

function memory(pages: number, texts: Record<number, string>): Uint8Array {
  const bytes = Buffer.alloc(pages * pageSize);
  for (const [at, text] of Object.entries(texts)) bytes.write(text, Number(at), 'latin1');
  return bytes;
}

test('finds text across page borders, once each', async () => {
  const view = viewOf(
    memory(8, { [6 * pageSize - 6]: 'border crossing', 4096: 'same', 8192: 'same', [3 * pageSize]: 'later' }),
  );
  const find = async (...patterns: Uint8Array[]): Promise<number[]> =>
    (await searchPages(view, patterns)).map(({ offset }) => offset);
  assert.deepEqual(await find(...textPatterns('border crossing')), [6 * pageSize - 6]);
  assert.deepEqual(await find(...textPatterns('same')), [4096, 8192]);
  assert.deepEqual(await find(...textPatterns('first')), []);
  // Pages of zeros before and behind are searched with those between.
  assert.deepEqual(await find(Buffer.from('\0later')), [3 * pageSize - 1]);
  assert.deepEqual(await find(Buffer.from('crossing\0\0')), [6 * pageSize + 1]);
  assert.equal((await searchPages(view, [Buffer.from('s')], { limit: 2 })).length, 2);
  await assert.rejects(find(Buffer.from('\0')), InspectError);
  await assert.rejects(searchPages(view, [Buffer.from('s')], { space: 'disk9' }), /no space disk9/);
});

test('finds text in UTF-16 as well', async () => {
  const bytes = memory(2, {});
  Buffer.from(bytes.buffer).write('wide', pageSize - 3, 'utf16le');
  assert.deepEqual(await searchPages(viewOf(bytes), textPatterns('wide')), [
    { space: 'ram', offset: pageSize - 3 },
  ]);
});

test('finds a text in every place, whatever the pages', async () => {
  const bytes = memory(40, {});
  let seed = 11;
  const random = (below: number): number => (seed = (seed * 48271) % 0x7fff_ffff) % below;
  for (let n = 0; n < 60; n++) bytes[random(40) * pageSize + random(pageSize)] = 0x6e;
  for (let n = 0; n < 30; n++) bytes.set(Buffer.from('needle'), random(bytes.length - 6));
  // Just before the border of a window, where the one after it looks too.
  bytes.set(Buffer.from('needle'), 2 * pageSize - 8);
  const expected: number[] = [];
  const all = Buffer.from(bytes);
  for (let at = all.indexOf('needle'); at >= 0; at = all.indexOf('needle', at + 1)) expected.push(at);
  const long = Buffer.from('a pattern that is not there');
  const found = await searchPages(viewOf(bytes), [Buffer.from('needle'), long], { pagesAtOnce: 2 });
  assert.deepEqual(
    found.map(({ offset }) => offset),
    expected,
  );
});
