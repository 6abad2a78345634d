/** What a machine's edge hands over is looked at by who does so, not only by who reads it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { encodeInputs, encodeLog, encodeOutputs, maxMessageBytes } from './codec.ts';
import { MachineEdge, type EdgeParts } from './edge.ts';
import { OutputQueue } from './output-queue.ts';
import { StreamOrder } from './streams.ts';
import {
  maxSerialBytes,
  outputKinds,
  type LoggedInput,
  type MachineOutput,
  type StampedOutput,
} from './table.ts';

const aFault = /a fault of Revenant/;
const said = (bytes: number, port = 0): MachineOutput & { kind: 'serial' } => ({
  ...{ kind: 'serial', port, bytes: new Uint8Array(bytes) },
});
const stamped = (number: number, output: MachineOutput): StampedOutput => ({
  ...{ instructions: 0n, timeNs: 0n, number, output },
});

function edgeOf(now: EdgeParts['now'], more: Partial<EdgeParts> = {}): MachineEdge {
  return new MachineEdge({
    ...{ consumers: { nmi: () => undefined }, now, before: () => undefined, stop: () => undefined },
    ...more,
  });
}

test('a stamp that no reader takes, and a message that is too long, are not sent', () => {
  assert.throws(() => encodeOutputs([stamped(-1, said(1))]), aFault);
  assert.throws(() => encodeOutputs([stamped(1.5, said(1))]), aFault);
  assert.throws(
    () => encodeLog([{ instructions: -1n, timeNs: 0n, number: 0, input: { kind: 'nmi' } }]),
    aFault,
  );
  const most = { kind: 'serial', port: 0, bytes: new Uint8Array(maxSerialBytes) } as const;
  assert.throws(() => encodeInputs(Array(maxMessageBytes / maxSerialBytes).fill(most)), aFault);
});

test('neither inputs nor outputs are stamped with a time that went back', () => {
  for (const back of [
    { instructions: 9n, timeNs: 10n },
    { instructions: 10n, timeNs: 9n },
  ]) {
    let now = { instructions: 10n, timeNs: 10n };
    const edge = edgeOf(() => now, { output: () => true });
    assert.equal(edge.input({ kind: 'nmi' }), 'taken');
    edge.output(said(1));
    now = back;
    assert.throws(() => edge.input({ kind: 'nmi' }), aFault);
    assert.throws(() => edge.output(said(1)), aFault);
    // It has become another machine.
    edge.clear();
    assert.equal(edge.input({ kind: 'nmi' }), 'taken');
  }
});

test('a log that goes back is refused before anything of it is applied', () => {
  const at = (instructions: bigint, number: number): LoggedInput => ({
    ...{ instructions, timeNs: 0n, number, input: { kind: 'nmi' } },
  });
  const edge = edgeOf(() => ({ instructions: 0n, timeNs: 0n }));
  edge.replay([at(5n, 0)]);
  assert.throws(() => edge.replay([at(6n, 1), at(5n, 2)]), { code: 'MACHINE_REPLAY_DIVERGED' });
  assert.throws(() => edge.replay([at(4n, 1)]), { code: 'MACHINE_REPLAY_DIVERGED' });
  assert.equal(edge.replayLeft, 1);
});

test('bytes that do not go on where those before them ended are not joined to them', () => {
  const queue = new OutputQueue();
  queue.put(stamped(7, said(2)));
  queue.put(stamped(9, said(1)));
  assert.throws(() => queue.put(stamped(11, said(1))), aFault);
});

test('streams are followed each by itself, from wherever they begin', () => {
  const order = new StreamOrder(outputKinds);
  assert.ok(order.goesOn(said(3), 40));
  assert.ok(order.goesOn(said(1, 1), 0));
  assert.ok(order.goesOn(said(2), 43));
  assert.ok(!order.goesOn(said(1), 46), 'one is missing');
  assert.ok(!order.goesOn(said(1), 45), 'one comes twice');
});
