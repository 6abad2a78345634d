/** Any control flow becomes structured WebAssembly. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Structure } from './structure.ts';
import type { Edge } from './structure.ts';

/** Follows a branch from an item as WebAssembly would: only scopes that are open there can be left or begun again. */
function arrive(structure: Structure, from: number, node: number): number {
  const { item, dispatched } = structure.route(from, node);
  const scope = structure.scopes.find(
    (s) =>
      s.start <= from &&
      from < s.end &&
      (item > from ? s.kind === 'block' && s.end === item : s.kind === 'loop' && s.start === item),
  );
  assert.ok(scope, `no scope from item ${from} to ${item}`);
  const reached = structure.items[item];
  assert.ok(reached);
  if ('node' in reached) return reached.node;
  assert.ok(dispatched || 'targets' in (structure.items[from] ?? {}), 'a dispatcher has to be told the node');
  assert.ok(reached.targets.includes(node));
  return arrive(structure, item, node);
}

function check(count: number, edges: readonly Edge[], entries: readonly number[]): void {
  const structure = new Structure(count, edges, entries);
  const items = structure.items.flatMap((item, i) => ('node' in item ? [[item.node, i] as const] : []));
  const position = new Map(items);
  assert.equal(position.size, count);
  for (const { from, to } of edges) assert.equal(arrive(structure, position.get(from) ?? -1, to), to);
  if (entries.length > 1) for (const entry of entries) assert.equal(arrive(structure, 0, entry), entry);
  else assert.equal(position.get(entries[0] ?? -1), 0);
  const open: number[] = [];
  for (const { start, end } of structure.scopes) {
    while ((open.at(-1) ?? Infinity) <= start) open.pop();
    assert.ok(end <= (open.at(-1) ?? Infinity), 'scopes nest');
    open.push(end);
  }
}

test('every edge of any graph has its branch', () => {
  const graph = fc.integer({ min: 1, max: 14 }).chain((count) => {
    const node = fc.integer({ min: 0, max: count - 1 });
    return fc.record({
      count: fc.constant(count),
      edges: fc.uniqueArray(fc.record({ from: node, to: node }), {
        maxLength: 40,
        selector: ({ from, to }) => from * count + to,
      }),
      entries: fc.uniqueArray(node, { minLength: 1, maxLength: 4 }),
    });
  });
  fc.assert(
    fc.property(graph, ({ count, edges, entries }) => {
      // Only what can be reached belongs to a region.
      const reached = new Set(entries);
      for (const node of reached) for (const { from, to } of edges) if (from === node) reached.add(to);
      const numbers = new Map([...reached].map((node, i) => [node, i]));
      const number = (node: number): number => numbers.get(node) ?? -1;
      const inside = edges.filter(({ from }) => reached.has(from));
      check(
        reached.size,
        inside.map(({ from, to }) => ({ from: number(from), to: number(to) })),
        entries.map(number),
      );
      assert.ok(reached.size <= count);
    }),
    { numRuns: 3000 },
  );
});

test('a loop entered at two places has a dispatcher, one entered at its header has none', () => {
  const loop = [
    { from: 0, to: 1 },
    { from: 1, to: 2 },
    { from: 2, to: 1 },
  ];
  assert.ok(new Structure(3, loop, [0]).items.every((item) => 'node' in item));
  const twice = new Structure(3, [...loop, { from: 0, to: 2 }], [0]);
  assert.equal(twice.items.filter((item) => 'targets' in item).length, 1);
});
