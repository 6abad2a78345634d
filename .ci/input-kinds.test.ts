/**
 * How many files a kind of input touches: the table of docs/ARCHITECTURE.md names who takes and who makes each, and says so of all of them,
 * by the source. A kind with more files than that has grown a road of its own.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inputKinds } from '../packages/emulator/src/machine/edge/table.ts';

const packages = fileURLToPath(new URL('../packages/', import.meta.url));
const machine = 'emulator/src/machine/';

interface Road {
  takers: string[];
  makers: string[];
}

const inTicks = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path).sort();

/** The table in the document, by kind. */
function told(): Map<string, Road> {
  const text = readFileSync(join(packages, '../docs/ARCHITECTURE.md'), 'utf8');
  const [, rows = ''] =
    /\| input \| who takes it \| who makes it \|\n\|---\|---\|---\|\n((?:\|.*\n)+)/.exec(text) ?? [];
  const roads = new Map<string, Road>();
  for (const row of rows.trim().split('\n')) {
    const [, kind = '', takers = '', makers = ''] = row.split('|');
    roads.set(inTicks(kind)[0] ?? kind, { takers: inTicks(takers), makers: inTicks(makers) });
  }
  return roads;
}

/** Says of a source whether it takes a kind: as a device's maker does, or as the machine itself. */
const takes = (kind: string): RegExp =>
  new RegExp(
    `board\\.consumers\\.${kind} = |#consumers\\(\\): InputConsumers \\{[^]*?\\n {6}${kind}: \\([^]*?\\n {2}\\}`,
  );

/** Outputs and messages of other tables have kinds too: an input is given to `input`, or to whoever declares to make one. */
function makes(text: string, kind: string): boolean {
  const makesInputs = /\binput\(|\bMachineInput\b|\binputs: |#act\(/.test(text);
  return (
    makesInputs &&
    text
      .split('\n')
      .some(
        (line) =>
          line.includes(`kind: '${kind}'`) &&
          !/output|tell\(|tellNews|\| \{|boot === undefined|Wanted/.test(line),
      )
  );
}

test('each kind of input is known to the table, to who takes it and to who makes it, and to nobody else', () => {
  const sources = globSync('*/src/**/*.{ts,tsx}', { cwd: packages })
    .filter((path) => !/\.test\.tsx?$|\/testing\/|toy-guest|edge\/table/.test(path))
    .map((path) => ({ path, text: readFileSync(join(packages, path), 'utf8') }));
  const short = (path: string): string => (path.startsWith(machine) ? path.slice(machine.length) : path);
  const found = new Map<string, Road>();
  for (const kind of Object.keys(inputKinds)) {
    const pathsOf = (holds: (text: string) => boolean): string[] =>
      sources
        .filter(({ text }) => holds(text))
        .map(({ path }) => short(path))
        .sort();
    found.set(kind, {
      takers: pathsOf((text) => takes(kind).test(text)),
      makers: pathsOf((text) => makes(text, kind)),
    });
  }
  assert.deepEqual(found, told());
});
