/** Schemas and bounds of the cluster's messages: what is encoded is decoded, and what is too large or malformed is refused. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { isClusterError } from '../errors.ts';
import { startAgent } from '../decisions/state.ts';
import { emptyList } from '../decisions/records.ts';
import {
  check,
  checkTold,
  clusterEventSchema,
  commandSchema,
  decode,
  decodeConsoleReply,
  decodeConsoleRequest,
  decodeMessage,
  encode,
  messageBounds,
  nodeViewSchema,
  protectedListSchema,
  type Command,
  type ProtectedVm,
} from './index.ts';

const refused = (run: () => unknown, says: RegExp): void => {
  assert.throws(run, (error) => isClusterError(error, 'PROTOCOL') && says.test(error.message));
};
const ofObject = Object.getOwnPropertyNames(Object.prototype).filter((name) => name !== '__proto__');

function vm(id: string): ProtectedVm {
  const spec = { runtime: 'chain', description: {}, memoryMiB: 1, priority: 1, outputs: 'async' as const };
  const wanted = { desired: 'running' as const, boot: 1, status: 'pending' as const, reason: '' };
  return { id, spec, ...wanted, assignment: null, attempt: 0, tries: 0, avoid: [], moving: false };
}

test('bytes that claim more than they hold are refused before room is made for it', () => {
  const before = process.memoryUsage().rss;
  // Arrays, maps, texts and bytes that say they have 2^32 - 1 members; and arrays that say so a thousand times.
  for (const head of [0xdd, 0xdf, 0xdb, 0xc6])
    refused(() => decode(Uint8Array.of(head, 255, 255, 255, 255, 0xc0)), /cut short/);
  refused(() => decode(new Uint8Array(4 << 20).fill(0x91)), /levels/);
  const nils = new Uint8Array(4 << 20).fill(0xc0);
  nils.set([0xdd, 0, 0x3f, 0xff, 0xfb]);
  refused(() => decode(nils), /more than 400000 values/);
  refused(() => decode(Uint8Array.of(0xd4, 0x72, 0x40)), /unknown kind 0xd4/);
  refused(() => decode(Uint8Array.of(0xc1)), /unknown kind/);
  refused(() => decode(Uint8Array.of(0xc0, 0xc0)), /something behind/);
  refused(() => decode(new Uint8Array(0)), /cut short/);
  assert.ok(process.memoryUsage().rss - before < 64 << 20);
});

test('what is encoded is decoded, up to the bounds', () => {
  const value = {
    n: [0, 127, 128, 255, 256, 65_536, 2 ** 32, 2 ** 53 - 1, -1, -32, -33, -129, -(2 ** 40), 1.5],
    s: ['', 'x'.repeat(300), 'ü'.repeat(70_000)],
    b: new Uint8Array(70_000),
    nested: { deep: [{ a: null, b: true, c: false }] },
  };
  assert.deepEqual(Buffer.from(encode(decode(encode(value)))), Buffer.from(encode(value)));
  let nested: unknown = 1;
  for (let level = 1; level < messageBounds.maxDepth; level++) nested = [nested];
  decode(encode(nested));
  refused(() => decode(encode([[nested]])), /levels/);
});

test('no name of a member of Object.prototype is lost or special', () => {
  const vms = Object.fromEntries(ofObject.map((name) => [name, vm(name)]));
  const list = check(protectedListSchema, { ...emptyList(), vms }, 'a list');
  assert.deepEqual(Object.keys(list.vms), ofObject);
  for (const name of ofObject) {
    const command: Command = { type: 'vm-delete', vmId: name };
    assert.deepEqual(check(commandSchema, command, 'a command'), command);
    refused(() => check(commandSchema, { type: name }, 'a command'), /a command is malformed: type/);
    assert.equal(decodeMessage(encode({ type: name, vmId: 'v' })), undefined);
    refused(() => check(commandSchema, { ...command, [name]: 1 }, 'a command'), /malformed/);
  }
  const hostile: unknown = JSON.parse('{"type":"vm-delete","vmId":"v","__proto__":{"vmId":"w"}}');
  refused(() => check(commandSchema, hostile, 'a command'), /malformed/);
});

test('what is told may have fields of another release, which stay; what is asked for may not', () => {
  const later = { later: { of: 'tomorrow' } };
  const list = {
    ...emptyList(),
    ...later,
    vms: { v: { ...vm('v'), ...later, spec: { ...vm('v').spec, ...later } } },
  };
  assert.deepEqual(checkTold(protectedListSchema, list, 'a list'), list);
  refused(() => check(protectedListSchema, list, 'a list'), /malformed/);
  refused(
    () => checkTold(protectedListSchema, { ...list, revision: -1 }, 'a list'),
    /a list is malformed: revision/,
  );
  refused(
    () => checkTold(protectedListSchema, { ...list, vms: { v: { ...list.vms.v, boot: -1 } } }, 'a list'),
    /"v": boot/,
  );
  const told = { type: 'released', vmId: 'v', ...later };
  assert.deepEqual(decodeMessage(encode(told)), told);
  assert.equal(decodeMessage(encode({ type: 'of-tomorrow', ...later })), undefined);
  // Passed on as it is to whoever carries it out, who refuses it in words.
  const command = { type: 'vm-delete', vmId: 'v', ...later };
  assert.deepEqual(decodeMessage(encode({ type: 'command', id: 'x', command })), {
    type: 'command',
    id: 'x',
    command,
  });
  refused(() => check(commandSchema, command, 'a command'), /malformed/);
});

test('what is too long, too many or too deep is refused in words that say where', () => {
  const { view } = startAgent({ id: 'a', address: '127.0.0.1:1', capacity: { memoryMiB: 1 } }, 0);
  const report = { vmId: 'v', attempt: 1, kind: 'failed' as const, reason: 'x'.repeat(501) };
  refused(
    () => check(nodeViewSchema, { ...view, reports: [report] }, 'a view'),
    /a view is malformed: reports\.0\.reason: Invalid length/,
  );
  refused(
    () => check(protectedListSchema, { ...emptyList(), vms: { w: vm('v') } }, 'a list'),
    /the name of another/,
  );
  refused(
    () => check(protectedListSchema, { ...emptyList(), vms: { v: { ...vm('v'), boot: -1 } } }, 'a list'),
    /"v": boot/,
  );
  let deep: unknown = {};
  for (let level = 0; level < 100; level++) deep = { deep };
  const spec = { ...vm('v').spec, description: deep };
  refused(
    () => check(commandSchema, { type: 'vm-create', vmId: 'v', spec, start: true }, 'a command'),
    /spec\.description: too deep/,
  );
  refused(
    () => decodeConsoleRequest(encode({ type: 'input', at: 0, bytes: new Uint8Array(70_000) })),
    /bytes: too long/,
  );
  refused(
    () => decodeConsoleReply(encode({ type: 'output', epoch: 0.5, at: 0, bytes: new Uint8Array(1) })),
    /epoch/,
  );
});

test('events of other shapes are none', () => {
  const event = { event: 'vm-lost', reason: '', atMs: 1, by: 'a' };
  assert.deepEqual(check(clusterEventSchema, event, 'an event'), event);
  refused(() => check(clusterEventSchema, { ...event, details: { a: { b: 1 } } }, 'an event'), /details/);
});

test('the protocol runs without anything of Node', () => {
  // Whatever asks for a module of Node fails here, as it would in a page.
  const hooks = `import { registerHooks } from 'node:module';
    registerHooks({ resolve(name, context, next) {
      if (name.startsWith('node:')) throw new Error('a module of Node: ' + name + ' from ' + context.parentURL);
      return next(name, { ...context, conditions: ['import', 'browser', 'default'] });
    } });`;
  const run = spawnSync(
    process.execPath,
    [
      ...['--import', `data:text/javascript,${encodeURIComponent(hooks)}`, '--input-type=module', '--eval'],
      `const { decode, encode } = await import('@revenant/cluster/protocol'); console.log(decode(encode({ a: 1 })).a)`,
    ],
    { cwd: import.meta.dirname, encoding: 'utf8' },
  );
  assert.equal(run.stdout, '1\n', run.stderr);
});
