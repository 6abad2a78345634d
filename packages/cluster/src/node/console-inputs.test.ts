/** What is typed at a console reaches the guest once and in order, whatever is sent again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxSessions, maxUnacknowledgedBytes } from '../protocol/limits.ts';
import type { InputPlaces } from '../vm/input-ledger.ts';
import { ConsoleInputs, doneEvents, typedBytes, type InputListener } from './console-inputs.ts';

const places = (inputs: ConsoleInputs, vmId: string, epoch: number): Promise<InputPlaces> =>
  inputs.cut(vmId, epoch, (at) => Promise.resolve(at));

function made() {
  let given = '';
  const told: string[] = [];
  const inputs = new ConsoleInputs((_vm, all) => {
    for (const input of all) if (input.kind === 'serial') given += Buffer.from(input.bytes).toString();
    return Promise.resolve(all.length);
  });
  const listener: InputListener = {
    place: ({ epoch, at, durable, known }) =>
      told.push(
        `epoch ${String(epoch)} from ${String(at)}, durable ${String(durable)}${known ? '' : ', not known'}`,
      ),
    acknowledged: (taken, durable) => told.push(`taken ${String(taken)}, durable ${String(durable)}`),
  };
  const type = (at: number, text: string) => inputs.type('v', 's', at, typedBytes(Buffer.from(text)));
  return { inputs, listener, type, told, given: () => given };
}

test('each byte is given once, whatever is sent again, and a gap is asked for', async () => {
  const { inputs, listener, type, told, given } = made();
  assert.equal(await type(0, 'x'), 'elsewhere');
  inputs.started('v', 1, {});
  inputs.open('v', 's', 0, listener);
  await type(0, 'abc');
  await type(0, 'abcde');
  await type(3, 'de');
  await type(9, 'z');
  assert.equal(given(), 'abcde');
  assert.deepEqual(told, [
    'epoch 1 from 0, durable 0, not known',
    'taken 3, durable 0',
    'taken 5, durable 0',
    'taken 5, durable 0',
    'epoch 1 from 5, durable 0',
  ]);
});

test('a checkpoint acknowledges what was given before it was cut, and whoever resumes it goes on there', async () => {
  const { inputs, listener, type, told } = made();
  inputs.started('v', 1, {});
  inputs.open('v', 's', 0, listener);
  await type(0, 'abc');
  const cut = await places(inputs, 'v', 1);
  await type(3, 'de');
  told.length = 0;
  inputs.durable('v', 1, cut);
  assert.deepEqual(told, ['taken 5, durable 3']);

  const next = made();
  next.inputs.started('v', 2, cut);
  next.inputs.open('v', 's', 3, next.listener);
  await next.type(3, 'de');
  assert.equal(next.given(), 'de');
  assert.equal(next.told[0], 'epoch 2 from 3, durable 3');
  // What the epoch before says late counts no more.
  next.inputs.durable('v', 1, { s: 99 });
  next.inputs.ended('v', 1);
  assert.deepEqual(await places(next.inputs, 'v', 2), { s: 5 });
});

test('a console that stays open while its VM begins an epoch here is told where to go on', async () => {
  const { inputs, listener, told } = made();
  const end = inputs.open('v', 's', 0, listener);
  inputs.started('v', 3, { s: 7 });
  inputs.started('v', 4, {});
  end();
  inputs.started('v', 5, { s: 9 });
  assert.deepEqual(told, ['epoch 3 from 7, durable 7', 'epoch 4 from 0, durable 0, not known']);
});

test('sessions and what waits for a checkpoint are bounded', async () => {
  const { inputs, listener, type, given } = made();
  inputs.started('v', 1, {});
  for (let n = 0; n < 3 * maxSessions; n++) inputs.open('v', `other ${String(n)}`, 0, listener);
  inputs.open('v', 's', 0, listener);
  assert.equal(Object.keys(await places(inputs, 'v', 1)).length, maxSessions);
  assert.equal(await type(0, 'x'.repeat(maxUnacknowledgedBytes)), 'taken');
  assert.equal(await type(maxUnacknowledgedBytes, 'y'), 'full');
  inputs.durable('v', 1, await places(inputs, 'v', 1));
  assert.equal(await type(maxUnacknowledgedBytes, 'y'), 'taken');
  assert.equal(given().length, maxUnacknowledgedBytes + 1);
});

test('names of members of Object.prototype are sessions and VMs like others', async () => {
  for (const name of Object.getOwnPropertyNames(Object.prototype)) {
    const { inputs, listener } = made();
    assert.equal(await inputs.type(name, name, 0, typedBytes(Buffer.from('a'))), 'elsewhere');
    assert.deepEqual(await places(inputs, name, 1), {});
    inputs.started(name, 1, {});
    inputs.open(name, name, 0, listener);
    assert.equal(await inputs.type(name, name, 0, typedBytes(Buffer.from('a'))), 'taken');
    assert.deepEqual(Object.entries(await places(inputs, name, 1)), [[name, 1]]);
  }
});

test('events that find no room are given again from the first of them on, and each is given once', async () => {
  const given: string[] = [];
  let room = 0;
  const inputs = new ConsoleInputs((_vm, all, { places }) => {
    const taken = all.slice(0, room);
    room -= taken.length;
    taken.forEach((input, n) => given.push(`${input.kind === 'key' ? input.code : ''} ${String(places[n])}`));
    return Promise.resolve(taken.length);
  });
  const keys = (codes: string) =>
    doneEvents([...codes].map((code) => ({ kind: 'key' as const, code, pressed: true })));
  inputs.started('v', 1, {});
  inputs.open('v', 's', 0, { place: () => undefined, acknowledged: () => undefined });
  room = 2;
  assert.equal(await inputs.type('v', 's', 0, keys('abc')), 'full');
  assert.deepEqual(await places(inputs, 'v', 1), { s: 2 });
  room = 9;
  assert.equal(await inputs.type('v', 's', 0, keys('abcd')), 'taken');
  assert.equal(await inputs.type('v', 's', 2, keys('cde')), 'taken');
  assert.deepEqual(given, ['a 1', 'b 2', 'c 3', 'd 4', 'e 5']);
});
