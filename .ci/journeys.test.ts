/**
 * The journeys of docs/ARCHITECTURE.md, hop by hop: each hop names a file and what is exported there that does it. Who moves one of these has
 * to tell the new road, and a road that has become longer shows.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const packages = fileURLToPath(new URL('../packages/', import.meta.url));
const sources = globSync('*/src/**/*.{ts,tsx}', { cwd: packages }).filter(
  (path) => !/\.test\.tsx?$/.test(path),
);

/** How many hops each journey has, by what its text begins with. */
const journeys: [string, number][] = [
  ['**The journey of a serial byte**', 5],
  ['**The journey of a dirty page**', 6],
  ['## The path of one instruction', 9],
];

/** The steps of the first numbered list behind this text. */
function hopsOf(document: string, begin: string): string[] {
  const from = document.indexOf(begin);
  assert.ok(from >= 0, begin);
  const list = /^1\. [^]*?(?=\n\n|\n\*\*)/m.exec(document.slice(from))?.[0] ?? '';
  return list.split(/^(?=\d+\. )/m);
}

/** What is wrong with a hop; nothing, if each file is one of ours and exports what stands in brackets behind it. */
function troublesOf(hop: string, texts: (path: string) => string): string[] {
  const troubles: string[] = [];
  let symbols = 0;
  for (const [, path = '', symbol] of hop.matchAll(/`([\w/.-]+\.ts)`(?:\s+\(`(\w+)`)?/g)) {
    const found = sources.filter((source) => source === path || source.endsWith(`/${path}`));
    if (found.length !== 1) troubles.push(`${path}: ${String(found.length)} files have this name`);
    else if (symbol !== undefined) {
      symbols++;
      const exported = new RegExp(
        `^export (?:abstract |async )?(?:function|class|const|interface|type) ${symbol}\\b`,
        'm',
      );
      if (!exported.test(texts(found[0]!))) troubles.push(`${path} exports no ${symbol}`);
    }
  }
  if (symbols === 0) troubles.push(`no symbol is named in: ${hop.slice(0, 60)}`);
  return troubles;
}

const textOf = (path: string): string => readFileSync(join(packages, path), 'utf8');

for (const [begin, count] of journeys)
  test(`each hop is there: ${begin.replaceAll(/[*#]+ ?/g, '')}`, () => {
    const hops = hopsOf(readFileSync(join(packages, '../docs/ARCHITECTURE.md'), 'utf8'), begin);
    assert.deepEqual(
      hops.flatMap((hop) => troublesOf(hop, textOf)),
      [],
    );
    assert.deepEqual(
      hops.map((hop) => Number.parseInt(hop, 10)),
      Array.from({ length: count }, (_, n) => n + 1),
    );
  });

test('a hop without its file, its export or any name is seen', () => {
  const troubles = (hop: string): number => troublesOf(hop, textOf).length;
  assert.equal(troubles('1. `vm/output-gate.ts` (`OutputGate`: may they leave yet?)'), 0);
  assert.equal(troubles('1. `vm/output-gate.ts` (`Gate`)'), 1);
  assert.equal(troubles('1. `vm/nowhere.ts` (`OutputGate`)'), 2);
  assert.equal(troubles('1. `vm/output-gate.ts`'), 1);
});
