/** MSI-X: capability, vectors, pending bits. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Msix, type MsixState } from './msix.ts';

const layout = { vectors: 3, capability: 0x98, table: 0x800, pending: 0xc00 };
const enable = 0x80;
const functionMask = 0x40;
const control = layout.capability + 3;

interface Made {
  msix: Msix;
  state: MsixState;
  sent: [number, number, number][];
}

function made(): Made {
  const sent: Made['sent'] = [];
  const msix = new Msix(layout, ({ low, high }, data) => sent.push([low, high, data]));
  const state = msix.powerOn();
  return { msix, state, sent };
}

function setVector({ msix, state }: Made, vector: number, masked = false): void {
  const at = layout.table + vector * 16;
  msix.write(state, at, 4, 0xfee0_1000);
  msix.write(state, at + 4, 4, 0);
  msix.write(state, at + 8, 4, 0x40 + vector);
  msix.write(state, at + 12, 4, masked ? 1 : 0);
}

describe('MSI-X', () => {
  test('its capability says where table and pending bits are', () => {
    const { msix } = made();
    assert.equal(Buffer.from(msix.capability()).toString('hex'), '11000200' + '00080000' + '000c0000');
  });

  test('a message is sent when function and vector are open, else it waits, once', () => {
    const one = made();
    const { msix, state, sent } = one;
    setVector(one, 1);
    msix.raise(state, 1);
    msix.raise(state, 1);
    assert.deepEqual(sent, [], 'not enabled');
    assert.equal(msix.read(state, layout.pending, 4), 2);
    msix.writeConfiguration(state, control, enable | functionMask);
    assert.deepEqual(sent, []);
    msix.writeConfiguration(state, control, enable);
    assert.deepEqual(sent, [[0xfee0_1000, 0, 0x41]]);
    assert.equal(msix.read(state, layout.pending, 4), 0);
    msix.raise(state, 2);
    assert.equal(sent.length, 1, 'vectors are masked at power-on');
    setVector(one, 2);
    assert.deepEqual(sent[1], [0xfee0_1000, 0, 0x42]);
  });

  test('a saved state with a waiting message sends it when its vector is opened', () => {
    const first = made();
    setVector(first, 0, true);
    first.msix.writeConfiguration(first.state, control, enable);
    first.msix.raise(first.state, 0);
    const second = made();
    const state = structuredClone(first.state);
    assert.equal(second.msix.whyNot(state), undefined);
    second.msix.write(state, layout.table + 12, 4, 0);
    assert.deepEqual(second.sent, [[0xfee0_1000, 0, 0x40]]);
  });

  test('the table takes whole doublewords only, the pending bits nothing; others are not its own', () => {
    const { msix, state } = made();
    assert.equal(msix.write(state, layout.table, 2, 0x1234), true);
    assert.equal(msix.read(state, layout.table, 4), 0);
    assert.equal(msix.write(state, layout.table, 4, 0xfee0_0003), true);
    assert.equal(msix.read(state, layout.table, 4), 0xfee0_0000);
    assert.equal(msix.read(state, layout.table + 2, 2), 0xfee0);
    assert.equal(msix.write(state, layout.pending, 4, 7), true);
    assert.equal(msix.read(state, layout.pending, 4), 0);
    assert.equal(msix.read(state, layout.table + 3 * 16, 4), undefined);
    assert.equal(msix.write(state, layout.table - 4, 4, 1), false);
    msix.raise(state, 99);
    assert.equal(state.pending, 0);
  });

  test('states that this function can not have are refused', () => {
    const { msix, state } = made();
    assert.match(msix.whyNot({ ...state, entries: [] }) ?? '', /vectors/);
    assert.match(msix.whyNot({ ...state, control: 1 }) ?? '', /control/);
    assert.match(msix.whyNot({ ...state, pending: 8 }) ?? '', /pending/);
  });
});
