/**
 * docs/CLUSTER_PROTOCOL.md against the schemas and tables of the sources: versions, routes, commands, messages, settings, limits. What is
 * added to one of them and not told, or told and no longer there, fails here.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { makeSettings } from '../packages/cluster/src/decisions/settings.ts';
import { defaultLimits } from '../packages/cluster/src/node/api-limits.ts';
import { operations } from '../packages/cluster/src/node/operations.ts';
import { consoleReplySchema, consoleRequestSchema } from '../packages/cluster/src/protocol/console.ts';
import { displayReplySchema, displayRequestSchema } from '../packages/cluster/src/protocol/display.ts';
import { messageSchema } from '../packages/cluster/src/protocol/link.ts';
import { pageReplySchema, pageRequestSchema } from '../packages/cluster/src/protocol/page.ts';
import { nodeRecordSchema, protectedVmSchema } from '../packages/cluster/src/protocol/records.ts';
import { commandSchema } from '../packages/cluster/src/protocol/spec.ts';
import { protocolVersion, subprotocol } from '../packages/cluster/src/protocol/version.ts';

/** Without its blocks of code, whose fences are no spans. */
const text = readFileSync(new URL('../docs/CLUSTER_PROTOCOL.md', import.meta.url), 'utf8').replaceAll(
  /^```.*\n[^]*?\n```$/gm,
  '',
);

/** From a heading, or the beginning of a paragraph, to the next heading of the same depth or a lesser one. */
function section(begin: string): string {
  const from = text.indexOf(`\n${begin}`);
  assert.ok(from >= 0, begin);
  const depth = /^#*/.exec(begin)?.[0].length ?? 0;
  const end = text.slice(from + 1).search(new RegExp(`\n#{1,${String(depth === 0 ? 3 : depth)}} `));
  return end < 0 ? text.slice(from) : text.slice(from, from + 1 + end);
}

const spansOf = (part: string): string[] => [...part.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);
/** Cells of the rows of a table, without its head. */
const rowsOf = (part: string): string[][] =>
  [...part.matchAll(/^\| (?!setting \||limit \|)(.+) \|$/gm)].map(([, row = '']) => row.split(' | '));

interface Variant {
  options: readonly { entries: { type: { literal: string } } & Record<string, unknown> }[];
}
const typesOf = (schema: unknown): string[] =>
  (schema as Variant).options.map(({ entries }) => entries.type.literal);

test('the title and each subprotocol have the version that nodes speak', () => {
  assert.equal(/^# Cluster protocol, version (\d+)$/m.exec(text)?.[1], String(protocolVersion));
  const named = [...text.matchAll(/\brevenant\.\d+\b/g)].map(([name]) => name);
  assert.ok(named.length > 1, 'subprotocols are named at all');
  assert.deepEqual([...new Set(named)], [subprotocol]);
});

test('each route of a node is in the table, and no other', () => {
  const names: Record<string, string> = { vm: 'ID', checkpoint: 'WHICH', snapshot: 'NAME', image: 'NAME' };
  const wanted = operations.map(
    ({ method, path }) =>
      `${method} ${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? name.toUpperCase())}`,
  );
  const told = spansOf(section('## API'))
    .filter((span) => /^(GET|POST|PUT|DELETE) \/(?:v1|metrics|healthz|readyz)|^GET …/.test(span))
    .map((span) => span.replace('…', '/v1/vms/ID/checkpoints/WHICH').replace(/\?.*/, ''));
  assert.deepEqual([...new Set(told)].sort(), wanted.sort());
});

test('each command is told, with its fields', () => {
  const told = new Map(
    spansOf(section('Commands: ')).flatMap((span) => {
      const [, name, fields = ''] = /^([a-z-]+)(?: \{([^}]*)\})?$/.exec(span) ?? [];
      return name === undefined ? [] : [[name, fields.split(', ')] as const];
    }),
  );
  for (const { entries } of (commandSchema as unknown as Variant).options) {
    const { type, ...fields } = entries as Record<string, { type?: string; literal?: string }>;
    const isOptional = ({ type: kind = '' }: { type?: string }): boolean => kind === 'exact_optional';
    const wanted = Object.entries(fields).map(([name, schema]) => (isOptional(schema) ? `${name}?` : name));
    assert.deepEqual(told.get(type!.literal!)?.filter(Boolean), wanted, type!.literal);
  }
});

for (const [where, schemas] of [
  ['## Links', [messageSchema]],
  ['## Consoles', [consoleRequestSchema, consoleReplySchema]],
  ['## Displays', [displayRequestSchema, displayReplySchema]],
  ['The page speaks ', [pageRequestSchema, pageReplySchema]],
] as const)
  test(`each message is told: ${where.replace('## ', '')}`, () => {
    const told = new Set(spansOf(section(where)).map((span) => span.replace(/ .*/s, '')));
    const untold = schemas.flatMap(typesOf).filter((type) => !told.has(type));
    assert.deepEqual(untold, []);
  });

test('states of VMs and nodes are the ones that are told', () => {
  const { desired, status } = protectedVmSchema.entries;
  const records = section('## Records').replaceAll(/\s+/g, ' ');
  assert.ok(records.includes(`\`desired\`: ${desired.options.join(', ')})`), 'desired');
  assert.ok(records.includes(`\`status\`: ${status.options.join(', ')})`), 'status');
  const states = nodeRecordSchema.entries.state.options;
  assert.ok(records.includes(`state (${states.map((each) => `\`${each}\``).join(', ')})`), 'state');
});

test('settings have the values of both profiles', () => {
  const rows = rowsOf(section('## Settings'));
  const profiles = [makeSettings(), makeSettings('fast')];
  assert.ok(rows.length > 10, 'settings are found at all');
  for (const [names = '', ...values] of rows)
    for (const [n, name] of names.split(', ').entries())
      assert.deepEqual(
        values.map((each) => Number(each.split(', ')[n])),
        profiles.map((each) => each[name as keyof typeof each]),
        name,
      );
});

test('each limit has its default', () => {
  const told = rowsOf(section('## Bounds')).flatMap(([names = '', values = '']) =>
    names.split(', ').map((name, n) => [name, Number(values.split(', ')[n])] as const),
  );
  assert.deepEqual(Object.fromEntries(told), defaultLimits);
});
