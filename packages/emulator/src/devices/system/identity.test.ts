/** The devices by which a guest learns that it lives a second time: generation ID and VMClock. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeLine } from '../testing/contract.ts';
import { AcpiGpe, gpePort } from './acpi-gpe.ts';
import { VmClock, VmGenerationId } from './identity.ts';

function bytesOf(device: VmGenerationId | VmClock, length: number): DataView {
  const bytes = Uint8Array.from({ length }, (_, n) => device.readMemory(n, 1));
  return new DataView(bytes.buffer);
}

describe('what tells of a second life', () => {
  test('the generation ID changes with the generation, in both halves, and survives a reset', () => {
    const device = new VmGenerationId();
    const before = bytesOf(device, 16);
    device.setGeneration(2n ** 64n - 1n);
    const after = bytesOf(device, 16);
    device.reset();
    assert.deepEqual(bytesOf(device, 16), after);
    for (const half of [0, 8]) assert.notEqual(before.getBigUint64(half), after.getBigUint64(half));
    assert.equal(device.readMemory(0, 4), after.getUint32(0, true));
    assert.equal(device.readMemory(0x800, 4), 0);
  });

  test('the VMClock page is as vmclock-abi.h has it', () => {
    const device = new VmClock();
    device.setGeneration(0xfedc_ba98_7654_3210n);
    const page = bytesOf(device, 0x70);
    assert.equal(page.getUint32(0, true), 0x4b4c_4356);
    assert.equal(page.getUint32(4, true), 0x1000);
    assert.equal(page.getUint16(8, true), 1);
    assert.equal(page.getUint8(10), 0xff, 'no counter: it gives no time');
    assert.equal(page.getUint32(12, true), 2, 'even: no update is under way');
    assert.equal(page.getBigUint64(16, true), 0xfedc_ba98_7654_3210n);
    assert.equal(page.getUint32(24, true), 0x300);
    assert.equal(page.getBigUint64(0x68, true), 0xfedc_ba98_7654_3210n);
    assert.equal(device.readMemory(0x68, 4), 0x7654_3210);
    assert.equal(device.readMemory(0xffc, 4), 0);
  });

  test('an event asserts the SCI while it is enabled and not cleared, also after a checkpoint', () => {
    const sci = new FakeLine();
    const gpe = new AcpiGpe({ sci });
    gpe.raise(5);
    gpe.raise(8);
    assert.equal(sci.level, false);
    gpe.writePort(gpePort + 2, 1, 0x20);
    assert.equal(sci.level, true);
    const otherSci = new FakeLine();
    const other = new AcpiGpe({ sci: otherSci });
    other.restore(gpe.save(), gpe.version);
    assert.equal(otherSci.level, true);
    gpe.writePort(gpePort, 1, 0x20);
    assert.equal(sci.level, false);
    assert.equal(gpe.readPort(gpePort, 2), 0x100);
    gpe.writePort(gpePort + 3, 1, 1);
    assert.equal(sci.level, true);
    gpe.writePort(gpePort + 1, 1, 1);
    assert.equal(sci.level, false);
  });
});
