/** The ACPI tables: how they hang together, their checksums, and the terms of the DSDT. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { acpiTables } from './tables.ts';

const options = { base: 0xe_0000, cpuCount: 1, keyboard: true, vga: true, serialPorts: 2 };

/** Follows the RSDP to all tables, checking signatures, lengths and checksums on the way. */
function walk({ rsdpAddress, bytes }: { rsdpAddress: number; bytes: Uint8Array }): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer);
  const at = (address: number): number => address - options.base;
  const sum = (part: Uint8Array): number => part.reduce((all, byte) => (all + byte) & 0xff, 0);
  const read = (address: number): Uint8Array => {
    const part = bytes.subarray(at(address), at(address) + view.getUint32(at(address) + 4, true));
    assert.equal(sum(part), 0);
    return part;
  };
  const signature = (part: Uint8Array): string => new TextDecoder().decode(part.subarray(0, 4));
  const rsdp = at(rsdpAddress);
  assert.equal(new TextDecoder().decode(bytes.subarray(rsdp, rsdp + 8)), 'RSD PTR ');
  assert.equal(sum(bytes.subarray(rsdp, rsdp + 20)), 0);
  assert.equal(sum(bytes.subarray(rsdp, rsdp + 36)), 0);
  const rsdt = read(view.getUint32(rsdp + 16, true));
  const xsdt = read(view.getUint32(rsdp + 24, true));
  assert.deepEqual([signature(rsdt), signature(xsdt)], ['RSDT', 'XSDT']);
  const found = new Map<string, Uint8Array>();
  for (let n = 36, x = 36; n < rsdt.length; n += 4, x += 8) {
    const address = new DataView(rsdt.buffer, rsdt.byteOffset).getUint32(n, true);
    assert.equal(new DataView(xsdt.buffer, xsdt.byteOffset).getUint32(x, true), address);
    const part = read(address);
    found.set(signature(part), part);
  }
  const fadt = found.get('FACP');
  assert.ok(fadt);
  const dsdt = read(new DataView(fadt.buffer, fadt.byteOffset).getUint32(40, true));
  found.set(signature(dsdt), dsdt);
  return found;
}

test('the tables hang together and their checksums are right', () => {
  const found = walk(acpiTables(options));
  assert.deepEqual([...found.keys()].sort(), ['APIC', 'DSDT', 'FACP']);
  assert.equal(found.get('FACP')?.length, 244);
});

test('devices that tell of a second life are named, with the events by which they tell it', () => {
  const found = walk(acpiTables({ ...options, vmGenerationId: true, vmClock: true }));
  const fadt = found.get('FACP');
  assert.ok(fadt);
  const view = new DataView(fadt.buffer, fadt.byteOffset);
  assert.deepEqual([view.getUint32(80, true), fadt[92]], [0xafe0, 4]);
  const text = Buffer.from(found.get('DSDT') ?? []).toString('latin1');
  for (const part of ['VM_Gen_Counter\0', 'AMZNC10C\0', '_E05', '_E08', '\x86\\.\x5fSB_VGEN\x0a\x80'])
    assert.ok(text.includes(part), part);
  const plain = walk(acpiTables(options)).get('FACP');
  assert.equal(plain?.[92], 0, 'without them there is no event block');
});

test('the DSDT is one tree of whole terms', () => {
  for (const variant of [options, { ...options, keyboard: false, serialPorts: 4 }]) {
    const dsdt = walk(acpiTables(variant)).get('DSDT');
    assert.ok(dsdt);
    const aml = dsdt.subarray(36);
    // Name (_S5_, Package (4) { 5, 5, 0, 0 }), then one Scope that takes the rest.
    assert.deepEqual([...aml.subarray(0, 13)], [8, 0x5f, 0x53, 0x35, 0x5f, 0x12, 8, 4, 0x0a, 5, 0x0a, 5, 0]);
    assert.equal(aml[14], 0x10);
    const lead = aml[15] ?? 0;
    assert.equal(lead >> 6, 1);
    assert.equal((lead & 15) | ((aml[16] ?? 0) << 4), aml.length - 15);
  }
});
