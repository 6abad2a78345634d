/** What goes to a guest or a peer is looked at by who sends it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { copyOut, emptyQueue, push } from './tcp/byte-queue.ts';
import { Protocol, writeIpv4 } from './wire/ipv4.ts';

const aFault = /a fault of Revenant/;

test('a packet that does not fit its frame, or its length field, is not sent', () => {
  const fields = { source: 1, destination: 2, protocol: Protocol.udp };
  writeIpv4(new Uint8Array(64), { ...fields, payloadBytes: 30 });
  assert.throws(() => writeIpv4(new Uint8Array(64), { ...fields, payloadBytes: 31 }), aFault);
  assert.throws(() => writeIpv4(new Uint8Array(1 << 17), { ...fields, payloadBytes: 65_516 }), aFault);
});

test('no more is sent than waits to be', () => {
  const queue = emptyQueue();
  push(queue, new Uint8Array(10));
  const target = { bytes: new Uint8Array(16), at: 0 };
  copyOut(queue, { offset: 4, length: 6 }, target);
  assert.throws(() => copyOut(queue, { offset: 4, length: 7 }, target), aFault);
});
