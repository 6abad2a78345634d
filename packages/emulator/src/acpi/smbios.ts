/** SMBIOS structures for firmware to place: DMTF DSP0134 3.x, in the files that SeaBIOS and OVMF read by fw_cfg (`etc/smbios/…`). */

const Type = {
  system: 1,
  chassis: 3,
  processor: 4,
  memoryArray: 16,
  memoryDevice: 17,
  memoryArrayMap: 19,
  boot: 32,
  end: 127,
} as const;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** One structure: formatted area of `length` bytes and its strings. Handles are 0x100 times the type. */
function structure(
  type: number,
  length: number,
  fill: (view: DataView) => void,
  strings: readonly string[] = [],
): Uint8Array {
  const formatted = new Uint8Array(length);
  const view = new DataView(formatted.buffer);
  view.setUint8(0, type);
  view.setUint8(1, length);
  view.setUint16(2, type * 0x100, true);
  fill(view);
  const tail = strings.length === 0 ? [0, 0] : [...strings.flatMap((one) => [...encode(one), 0]), 0];
  return Uint8Array.from([...formatted, ...tail]);
}

const system = structure(
  Type.system,
  27,
  (view) => {
    view.setUint8(4, 1);
    view.setUint8(5, 2);
    view.setUint8(6, 3);
    view.setUint8(24, 6); // wake-up: power switch
  },
  ['Revenant', 'Virtual PC', 'pc-2'],
);

const chassis = structure(
  Type.chassis,
  22,
  (view) => {
    view.setUint8(4, 1);
    view.setUint8(5, 1); // other
    for (let at = 9; at <= 12; at++) view.setUint8(at, 3); // states: safe; security: none
  },
  ['Revenant'],
);

const processor = structure(
  Type.processor,
  42,
  (view) => {
    view.setUint8(4, 1);
    view.setUint8(5, 3); // central processor
    view.setUint8(6, 1); // family: other
    view.setUint8(7, 2);
    view.setUint8(24, 0x41); // socket populated, enabled
    view.setUint8(25, 1);
    for (const at of [26, 28, 30]) view.setUint16(at, 0xffff, true); // no cache information
    for (const at of [35, 36, 37]) view.setUint8(at, 1); // cores, enabled cores, threads
    view.setUint16(40, 1, true);
  },
  ['CPU 0', 'Revenant'],
);

/** The memory as one array of one device: both, and where the array lies. */
function memoryStructures(mebibytes: number): Uint8Array[] {
  const unknown = 2;
  return [
    structure(Type.memoryArray, 23, (view) => {
      view.setUint8(4, 1);
      view.setUint8(5, 3); // system memory
      view.setUint8(6, 3); // no error correction
      view.setUint32(7, mebibytes * 1024, true);
      view.setUint16(11, 0xfffe, true);
      view.setUint16(13, 1, true);
    }),
    structure(
      Type.memoryDevice,
      40,
      (view) => {
        view.setUint16(4, Type.memoryArray * 0x100, true);
        view.setUint16(6, 0xfffe, true);
        view.setUint16(8, 64, true);
        view.setUint16(10, 64, true);
        view.setUint16(12, mebibytes, true);
        view.setUint8(14, 9); // DIMM
        view.setUint8(16, 1);
        view.setUint8(18, 7); // RAM
        view.setUint16(19, unknown, true);
      },
      ['DIMM 0'],
    ),
    structure(Type.memoryArrayMap, 31, (view) => {
      view.setUint32(4, 0, true);
      view.setUint32(8, mebibytes * 1024 - 1, true);
      view.setUint16(12, Type.memoryArray * 0x100, true);
      view.setUint8(14, 1);
    }),
  ];
}

const boot = structure(Type.boot, 11, () => undefined);
const end = structure(Type.end, 4, () => undefined);

function checksum(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at++) sum += bytes[at] ?? 0;
  return -sum & 0xff;
}

/** 5.2.1: the 32-bit entry point, whose table address firmware fills in. */
export function smbiosFiles(memoryBytes: number): Map<string, Uint8Array> {
  const parts = [system, chassis, processor, ...memoryStructures(memoryBytes / 2 ** 20), boot, end];
  const tables = Uint8Array.from(parts.flatMap((part) => [...part]));
  const anchor = new Uint8Array(31);
  const view = new DataView(anchor.buffer);
  anchor.set(encode('_SM_'));
  anchor[5] = anchor.length;
  anchor.set([2, 8], 6);
  view.setUint16(8, Math.max(...parts.map((part) => part.length)), true);
  anchor.set(encode('_DMI_'), 16);
  view.setUint16(22, tables.length, true);
  view.setUint16(28, parts.length, true);
  anchor[30] = 0x28;
  anchor[21] = checksum(anchor, 16, 31);
  anchor[4] = checksum(anchor, 0, 31);
  return new Map([
    ['etc/smbios/smbios-anchor', anchor],
    ['etc/smbios/smbios-tables', tables],
  ]);
}
