/**
 * The ACPI tables of the machine, placed in one piece: RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT. Reference: ACPI 6.4 chapter 5.
 */
import { gpeBlockBytes, gpePort } from '../devices/system/acpi-gpe.ts';
import { pvpanicPort } from '../devices/system/pvpanic.ts';
import { vmClockBase, vmGenerationIdBase } from '../devices/system/identity.ts';
import { AcpiPmPort, sleepTypeOff } from '../devices/timer/acpi-pm.ts';
import { ioApicBase } from '../devices/interrupt/io-apic.ts';
import { lapicBase } from '../devices/interrupt/lapic.ts';
import * as aml from './aml.ts';

export interface AcpiOptions {
  /** Physical address of the first byte, 64-aligned, between 0xe0000 and 0xfffff so that the RSDP is found by scanning. */
  base: number;
  cpuCount: number;
  /** Which optional devices the DSDT names. */
  keyboard: boolean;
  vga: boolean;
  serialPorts: number;
  /** Which of the pages it has that tell of a second life, by whose events there is a general-purpose event block. */
  vmGenerationId?: boolean;
  vmClock?: boolean;
  /** The port by which a kernel reports its panic. */
  pvpanic?: boolean;
  /** INTA# of the cards on bus 0: device number and I/O APIC input, which is also the ISA interrupt. */
  pciInterrupts?: readonly { device: number; input: number }[];
}

export interface AcpiTables {
  rsdpAddress: number;
  bytes: Uint8Array;
}

const headerBytes = 36;
const sciIrq = 9;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Makes the bytes sum to 0 by the one at `at`. */
function setChecksum(bytes: Uint8Array, at: number): void {
  bytes[at] = 0;
  bytes[at] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** 5.2.6: a table with its header filled in. */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerBytes + body.length);
  const view = new DataView(bytes.buffer);
  bytes.set(encode(signature));
  view.setUint32(4, bytes.length, true);
  bytes[8] = revision;
  bytes.set(encode('RVNT  '), 10);
  bytes.set(encode('REVENANT'), 16);
  view.setUint32(24, 1, true);
  bytes.set(encode('RVNT'), 28);
  view.setUint32(32, 1, true);
  bytes.set(body, headerBytes);
  setChecksum(bytes, 9);
  return bytes;
}

const serialResources = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: 4 },
  { port: 0x2e8, irq: 3 },
] as const;

function legacyDevice(options: {
  segment: string;
  id: string;
  uid?: number;
  resources: readonly aml.Term[];
}): aml.Term {
  const { segment, id, uid, resources } = options;
  return aml.device(segment, [
    aml.name('_HID', aml.eisaId(id)),
    ...(uid === undefined ? [] : [aml.name('_UID', aml.integer(uid))]),
    aml.resources(resources),
  ]);
}

/** 6.2.13: _PRT, with fixed inputs (no link devices). Level-triggered, active low, as PCI interrupts are. */
function routingTable(interrupts: NonNullable<AcpiOptions['pciInterrupts']>): aml.Term[] {
  if (interrupts.length === 0) return [];
  const anyFunction = 0xffff;
  const inta = 0;
  const entries = interrupts.map(({ device, input }) =>
    aml.packageOf([device * 0x1_0000 + anyFunction, inta, 0, input].map(aml.integer)),
  );
  return [aml.name('_PRT', aml.packageOf(entries))];
}

function differentiatedTable(options: AcpiOptions): Uint8Array {
  const { keyboard, serialPorts, pciInterrupts = [] } = options;
  const isaDevices = [
    legacyDevice({ segment: 'RTC', id: 'PNP0B00', resources: [aml.ioPorts(0x70, 2), aml.isaInterrupt(8)] }),
    ...serialResources.slice(0, serialPorts).map(({ port, irq }, n) =>
      legacyDevice({
        segment: `COM${String(n + 1)}`,
        id: 'PNP0501',
        uid: n + 1,
        resources: [aml.ioPorts(port, 8), aml.isaInterrupt(irq)],
      }),
    ),
    ...(options.pvpanic === true
      ? [
          aml.device('PEVT', [
            aml.name('_HID', aml.text('QEMU0001')),
            aml.name('_STA', aml.integer(0x0f)),
            aml.resources([aml.ioPorts(pvpanicPort, 1)]),
          ]),
        ]
      : []),
    ...(keyboard
      ? [
          legacyDevice({
            segment: 'KBD',
            id: 'PNP0303',
            resources: [aml.ioPorts(0x60, 1), aml.ioPorts(0x64, 1), aml.isaInterrupt(1)],
          }),
          legacyDevice({ segment: 'MOU', id: 'PNP0F13', resources: [aml.isaInterrupt(12)] }),
        ]
      : []),
  ];
  const bridge = aml.device('PCI0', [
    aml.name('_HID', aml.eisaId('PNP0A03')),
    aml.name('_ADR', aml.integer(0)),
    aml.name('_UID', aml.integer(0)),
    aml.resources([
      aml.busNumbers(0, 0xff),
      aml.ioPorts(0xcf8, 8),
      aml.ioWindow(0, 0xcf7),
      aml.ioWindow(0xd00, 0xffff),
      aml.memoryWindow(0xa_0000, 0xb_ffff),
      aml.memoryWindow(0xe000_0000, 0xfebf_ffff),
    ]),
    ...routingTable(pciInterrupts),
    aml.device('ISA', [aml.name('_ADR', aml.integer(0x1_0000)), ...isaDevices]),
  ]);
  const off = aml.packageOf([sleepTypeOff, sleepTypeOff, 0, 0].map(aml.integer));
  const identity = identityDevices(options);
  const parts = [
    aml.name('_S5', off),
    aml.scope('_SB', [bridge, ...identity.map((one) => one.device)]),
    ...(identity.length === 0
      ? []
      : [
          aml.scope(
            '_GPE',
            identity.map((one) => one.handler),
          ),
        ]),
  ];
  return table('DSDT', 2, Uint8Array.from(parts.flat()));
}

/** General-purpose events, numbered as QEMU numbers them. */
export const GpeEvent = { vmGenerationId: 5, vmClock: 8 } as const;
/** 5.6.6: the first value that is the device's own. */
const statusChanged = 0x80;

/** What tells a guest of a second life (devices/system/identity.ts), and the event that makes it look. */
function identityDevices({
  vmGenerationId,
  vmClock,
}: AcpiOptions): { device: aml.Term; handler: aml.Term }[] {
  const handler = (event: number, segment: string): aml.Term =>
    aml.method(`_E${event.toString(16).padStart(2, '0').toUpperCase()}`, [
      aml.notify('_SB', segment, statusChanged),
    ]);
  const named = (hardware: string, compatible: string): aml.Term[] => [
    aml.name('_HID', aml.text(hardware)),
    aml.name('_CID', aml.text(compatible)),
    aml.name('_DDN', aml.text(compatible)),
  ];
  const all: { device: aml.Term; handler: aml.Term }[] = [];
  if (vmGenerationId === true)
    all.push({
      device: aml.device('VGEN', [
        ...named('RVNT0001', 'VM_Gen_Counter'),
        // Low and high half of the address.
        aml.name('ADDR', aml.packageOf([aml.integer(vmGenerationIdBase), aml.integer(0)])),
      ]),
      handler: handler(GpeEvent.vmGenerationId, 'VGEN'),
    });
  if (vmClock === true)
    all.push({
      device: aml.device('VCLK', [
        ...named('AMZNC10C', 'VMCLOCK'),
        aml.name('_UID', aml.integer(0)),
        aml.resources([aml.readOnlyMemory(vmClockBase, 0x1000)]),
      ]),
      handler: handler(GpeEvent.vmClock, 'VCLK'),
    });
  return all;
}

/** 5.2.12: one local APIC for each processor, the I/O APIC, the timer on input 2, the SCI as a level interrupt, NMI on LINT1. */
function apicTable(cpuCount: number): Uint8Array {
  const entries: number[] = [];
  const dword = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  for (let n = 0; n < cpuCount; n++) entries.push(0, 8, n, n, ...dword(1));
  entries.push(1, 12, 0, 0, ...dword(ioApicBase), ...dword(0));
  entries.push(2, 10, 0, 0, ...dword(2), 0, 0);
  entries.push(2, 10, 0, sciIrq, ...dword(sciIrq), 0x0d, 0);
  entries.push(4, 6, 0xff, 0, 0, 1);
  const pcCompatible = 1;
  return table('APIC', 3, Uint8Array.from([...dword(lapicBase), ...dword(pcCompatible), ...entries]));
}

const fixedFlags = {
  wbinvd: 1,
  c1: 4,
  sleepButtonAbsent: 0x20,
  rtcWakeAbsent: 0x40,
  resetRegister: 0x400,
} as const;
const bootArchitecture = { legacyDevices: 1, keyboardController: 2, noVga: 4 } as const;

/** 5.2.9, revision 3: 244 bytes. */
function fixedTable(at: { facs: number; dsdt: number }, options: AcpiOptions): Uint8Array {
  const body = new Uint8Array(244 - headerBytes);
  const view = new DataView(body.buffer);
  const field = (offset: number): number => offset - headerBytes;
  view.setUint32(field(36), at.facs, true);
  view.setUint32(field(40), at.dsdt, true);
  body[field(45)] = 1; // preferred profile: desktop
  view.setUint16(field(46), sciIrq, true);
  view.setUint32(field(56), AcpiPmPort.event, true);
  view.setUint32(field(64), AcpiPmPort.control, true);
  view.setUint32(field(76), AcpiPmPort.timer, true);
  if (options.vmGenerationId === true || options.vmClock === true) {
    view.setUint32(field(80), gpePort, true);
    body[field(92)] = gpeBlockBytes;
  }
  body[field(88)] = 4; // PM1_EVT_LEN
  body[field(89)] = 2; // PM1_CNT_LEN
  body[field(91)] = 4; // PM_TMR_LEN
  view.setUint16(field(96), 0xfff, true); // no C2
  view.setUint16(field(98), 0xfff, true); // no C3
  body[field(108)] = 0x32; // century register of the CMOS
  const architecture =
    bootArchitecture.legacyDevices |
    (options.keyboard ? bootArchitecture.keyboardController : 0) |
    (options.vga ? 0 : bootArchitecture.noVga);
  view.setUint16(field(109), architecture, true);
  const { wbinvd, c1, sleepButtonAbsent, rtcWakeAbsent, resetRegister } = fixedFlags;
  view.setUint32(field(112), wbinvd | c1 | sleepButtonAbsent | rtcWakeAbsent | resetRegister, true);
  body.set([1, 8, 0, 1, 0xf9, 0x0c], field(116)); // RESET_REG: port 0xcf9, byte access
  body[field(128)] = 6; // RESET_VALUE
  return table('FACP', 3, body);
}

function firmwareControl(): Uint8Array {
  const bytes = new Uint8Array(64);
  bytes.set(encode('FACS'));
  new DataView(bytes.buffer).setUint32(4, 64, true);
  bytes[32] = 1;
  return bytes;
}

/** 5.2.5.3: revision 2, with both checksums. */
function rootPointer(rsdt: number, xsdt: number): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  bytes.set(encode('RSD PTR '));
  bytes.set(encode('RVNT  '), 9);
  bytes[15] = 2;
  view.setUint32(16, rsdt, true);
  view.setUint32(20, 36, true);
  view.setUint32(24, xsdt, true);
  const head = bytes.slice(0, 20);
  setChecksum(head, 8);
  bytes.set(head);
  setChecksum(bytes, 32);
  return bytes;
}

/** All tables in one piece, and where in it the addresses of others stand. */
interface Placement {
  rsdp: number;
  bytes: Uint8Array;
  /** Offset of each address in the piece, its size, and the offset of the table that it belongs to. */
  pointers: { at: number; size: 4 | 8; table: number }[];
  /** Tables with addresses, whose checksums follow from them. */
  summed: { table: number; length: number }[];
}

function placeTables(options: AcpiOptions): Placement {
  const pieces: { address: number; bytes: Uint8Array }[] = [];
  let next = options.base;
  const place = (bytes: Uint8Array): number => {
    const address = next;
    pieces.push({ address, bytes });
    next = Math.ceil((address + bytes.length) / 64) * 64;
    return address;
  };
  const rsdpAddress = place(new Uint8Array(36)); // filled below: it needs the others' addresses
  const facs = place(firmwareControl());
  const dsdt = place(differentiatedTable(options));
  const fadt = place(fixedTable({ facs, dsdt }, options));
  const listed = [fadt, place(apicTable(options.cpuCount))];
  const entries = { rsdt: new Uint8Array(listed.length * 4), xsdt: new Uint8Array(listed.length * 8) };
  listed.forEach((address, n) => {
    new DataView(entries.rsdt.buffer).setUint32(n * 4, address, true);
    new DataView(entries.xsdt.buffer).setUint32(n * 8, address, true);
  });
  const rsdt = place(table('RSDT', 1, entries.rsdt));
  const xsdt = place(table('XSDT', 1, entries.xsdt));
  pieces[0] = { address: rsdpAddress, bytes: rootPointer(rsdt, xsdt) };
  const bytes = new Uint8Array(next - options.base);
  for (const piece of pieces) bytes.set(piece.bytes, piece.address - options.base);
  const pointer = (at: number, owner: number, size: 4 | 8 = 4) => ({
    at: owner + at - options.base,
    size,
    table: owner - options.base,
  });
  return {
    rsdp: rsdpAddress,
    bytes,
    pointers: [
      pointer(36, fadt),
      pointer(40, fadt),
      ...listed.map((_, n) => pointer(headerBytes + n * 4, rsdt)),
      ...listed.map((_, n) => pointer(headerBytes + n * 8, xsdt, 8)),
      pointer(16, rsdpAddress),
      pointer(24, rsdpAddress, 8),
    ],
    summed: [fadt, rsdt, xsdt].map((address) => ({
      table: address - options.base,
      length: new DataView(bytes.buffer).getUint32(address - options.base + 4, true),
    })),
  };
}

export function acpiTables(options: AcpiOptions): AcpiTables {
  const { rsdp, bytes } = placeTables(options);
  return { rsdpAddress: rsdp, bytes };
}

/** Files of fw_cfg from which firmware puts the tables where it likes: QEMU documentation, "ACPI table loader" (bios-linker-loader). */
export function acpiFiles(options: Omit<AcpiOptions, 'base'>): Map<string, Uint8Array> {
  const rsdpBytes = 36;
  const { bytes, pointers, summed } = placeTables({ ...options, base: 0 });
  const names = { rsdp: 'etc/acpi/rsdp', tables: 'etc/acpi/tables' } as const;
  const Loader = { allocate: 1, addPointer: 2, addChecksum: 3 } as const;
  const zone = { high: 1, lowSegment: 2 } as const;
  const entries: Uint8Array[] = [];
  const entry = (
    command: number,
    files: readonly string[],
    numbers: readonly number[],
    lastByte?: number,
  ): void => {
    const out = new Uint8Array(128);
    const view = new DataView(out.buffer);
    view.setUint32(0, command, true);
    files.forEach((file, n) => {
      out.set(encode(file), 4 + n * 56);
    });
    numbers.forEach((value, n) => {
      view.setUint32(4 + files.length * 56 + n * 4, value, true);
    });
    if (lastByte !== undefined) out[4 + files.length * 56 + numbers.length * 4] = lastByte;
    entries.push(out);
  };
  entry(Loader.allocate, [names.rsdp], [16], zone.lowSegment);
  entry(Loader.allocate, [names.tables], [64], zone.high);
  // The piece begins with the RSDP, which is a file of its own: the rest of the tables keeps its offsets.
  for (const { at, size, table: owner } of pointers)
    entry(Loader.addPointer, [owner === 0 ? names.rsdp : names.tables, names.tables], [at], size);
  for (const { table: at, length } of summed) entry(Loader.addChecksum, [names.tables], [at + 9, at, length]);
  entry(Loader.addChecksum, [names.rsdp], [8, 0, 20]);
  entry(Loader.addChecksum, [names.rsdp], [32, 0, rsdpBytes]);
  const loader = new Uint8Array(entries.length * 128);
  entries.forEach((one, n) => {
    loader.set(one, n * 128);
  });
  const tables = bytes.slice();
  tables.fill(0, 0, rsdpBytes);
  return new Map([
    [names.rsdp, bytes.slice(0, rsdpBytes)],
    [names.tables, tables],
    ['etc/table-loader', loader],
  ]);
}
