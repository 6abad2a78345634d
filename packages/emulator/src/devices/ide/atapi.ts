/**
 * Packet commands of a CD-ROM drive: INF-8020i (SFF-8020 revision 2.6) and MMC-3 (T10/1363-D). Pure: from a packet, the drive's state
 * and the disc in it to what goes back. Discs are data discs of one track with sectors of 2048 bytes.
 */
import type { BlockBackend } from '../block.ts';
import { bool, record, u8, type Infer } from '../schema.ts';

export const cdSectorBytes = 2048;
export const packetBytes = 12;

export const cdSchema = record({
  senseKey: u8,
  /** Additional sense code and its qualifier. */
  asc: u8,
  ascq: u8,
  /** The disc was changed since software was last told. */
  changed: bool,
  open: bool,
  /** PREVENT MEDIUM REMOVAL: the button on the drive does nothing. */
  locked: bool,
  /** Media event for GET EVENT STATUS NOTIFICATION: 0 none, 1 eject request, 2 new medium, 3 removed. */
  event: u8,
});
export type CdState = Infer<typeof cdSchema>;

export function cdPowerOn(): CdState {
  return { senseKey: 0, asc: 0, ascq: 0, changed: false, open: false, locked: false, event: 0 };
}

/** What a packet asks the drive to do. `data` goes to the host; `read` sends sectors; `tray` moves it; `failed` has set the sense data. */
export type PacketResult =
  | { kind: 'done' }
  | { kind: 'data'; bytes: Uint8Array }
  | { kind: 'read'; sector: number; count: number }
  | { kind: 'tray'; open: boolean }
  | { kind: 'failed' };

// prettier-ignore
const Packet = {
  testUnitReady: 0x00, requestSense: 0x03, inquiry: 0x12, modeSense6: 0x1a, startStop: 0x1b, preventRemoval: 0x1e, readCapacity: 0x25,
  read10: 0x28, seek: 0x2b, verify: 0x2f, syncCache: 0x35, readSubchannel: 0x42, readToc: 0x43, getConfiguration: 0x46, getEvent: 0x4a,
  readDiscInformation: 0x51, modeSense10: 0x5a, read12: 0xa8, setSpeed: 0xbb, mechanismStatus: 0xbd, readCd: 0xbe,
} as const;
const Sense = { none: 0, notReady: 2, illegalRequest: 5, unitAttention: 6 } as const;
const Asc = {
  lbaOutOfRange: 0x21,
  invalidField: 0x24,
  invalidCommand: 0x20,
  mediumChanged: 0x28,
  noMedium: 0x3a,
  removalPrevented: 0x53,
} as const;
const noMediumTrayOpen = 2;
const noMediumTrayClosed = 1;
/** Commands that are answered although a unit attention waits (SFF-8020 10.8). */
const withoutAttention: readonly number[] = [
  Packet.requestSense,
  Packet.inquiry,
  Packet.getConfiguration,
  Packet.getEvent,
];
const profileCd = 0x0008;

function fail(cd: CdState, senseKey: number, asc: number, ascq = 0): PacketResult {
  Object.assign(cd, { senseKey, asc, ascq });
  return { kind: 'failed' };
}

/** At most as many bytes as the host has room for. */
function reply(bytes: Uint8Array, allocation: number): PacketResult {
  const data = bytes.subarray(0, allocation);
  return data.length === 0 ? { kind: 'done' } : { kind: 'data', bytes: data };
}

const big = (value: number, size: number): number[] =>
  Array.from({ length: size }, (_, n) => Math.floor(value / 256 ** (size - 1 - n)) & 0xff);

export function sectorsOf(disc: BlockBackend | undefined): number {
  return disc === undefined ? 0 : Math.ceil(disc.bytes / cdSectorBytes);
}

/** Minutes, seconds, frames of an absolute address. */
function msf(sector: number): number[] {
  const frames = sector + 150;
  return [0, Math.floor(frames / 4500) & 0xff, Math.floor(frames / 75) % 60, frames % 75];
}

function inquiry(model: string): Uint8Array {
  const bytes = new Uint8Array(36).fill(0x20, 8);
  bytes.set([0x05, 0x80, 0x00, 0x21, 31]); // CD-ROM, removable, ATAPI response format
  const put = (text: string, at: number): void => {
    bytes.set(new TextEncoder().encode(text), at);
  };
  put('REVENANT', 8);
  put(model.slice(0, 16), 16);
  put('1.0', 32);
  return bytes;
}

function requestSense(cd: CdState): Uint8Array {
  const bytes = new Uint8Array(18);
  bytes.set([0xf0, 0, cd.senseKey, 0, 0, 0, 0, 10]);
  bytes.set([cd.asc, cd.ascq], 12);
  Object.assign(cd, { senseKey: 0, asc: 0, ascq: 0 });
  return bytes;
}

/** SFF-8020 10.8.20: formats 0 (tracks), 1 (sessions) and 2 (everything, as used by burning programs). */
function tableOfContents(packet: Uint8Array, sectors: number): Uint8Array | undefined {
  const asMsf = ((packet[1] ?? 0) & 2) !== 0;
  const format = (packet[2] ?? 0) & 15 || (packet[9] ?? 0) >> 6;
  const address = (sector: number): number[] => (asMsf ? msf(sector) : big(sector, 4));
  const track = packet[6] ?? 0;
  const leadOut = 0xaa;
  const data = 0x14;
  let body: number[];
  if (format === 0) {
    if (track > 1 && track !== leadOut) return undefined;
    body = [
      1,
      1,
      ...(track <= 1 ? [0, data, 1, 0, ...address(0)] : []),
      0,
      data,
      leadOut,
      0,
      ...address(sectors),
    ];
  } else if (format === 1) body = [1, 1, 0, data, 1, 0, ...address(0)];
  else if (format === 2) {
    const point = (n: number, values: number[]): number[] => [1, data, 0, n, 0, 0, 0, ...values];
    body = [
      1,
      1,
      ...point(0xa0, [0, 1, 0, 0]),
      ...point(0xa1, [0, 1, 0, 0]),
      ...point(0xa2, msf(sectors)),
      ...point(1, msf(0)),
    ];
  } else return undefined;
  return Uint8Array.from([...big(body.length, 2), ...body]);
}

/** MMC-3 5.2: profile list, core, removable medium (with the lock), random readable, CD read. */
function configuration(packet: Uint8Array, disc: BlockBackend | undefined): Uint8Array {
  const current = disc === undefined ? 0 : 1;
  const features: [number, number[]][] = [
    [0x0000, [0, 3, 4, ...big(profileCd, 2), current, 0]],
    [0x0001, [0, 7, 4, ...big(2, 4)]],
    [0x0003, [0, 3, 4, 0x29, 0, 0, 0]],
    [0x0010, [0, current, 8, ...big(cdSectorBytes, 4), 0, 1, 0, 0]],
    [0x001e, [0, 8 | current, 4, 0, 0, 0, 0]],
  ];
  const kind = (packet[1] ?? 0) & 3;
  const from = ((packet[2] ?? 0) << 8) | (packet[3] ?? 0);
  const wanted = features.filter(([code]) => (kind === 2 ? code === from : code >= from));
  const body = wanted.flatMap(([code, [, flags = 0, length = 0, ...rest]]) => [
    ...big(code, 2),
    flags,
    length,
    ...rest,
  ]);
  return Uint8Array.from([...big(body.length + 4, 4), 0, 0, ...big(current * profileCd, 2), ...body]);
}

/** SFF-8020 10.8.6: the pages that drivers ask for: error recovery, audio (a stub), capabilities. */
function modePages(page: number, cd: CdState): number[] | undefined {
  const recovery = [0x01, 6, 0, 5, 0, 0, 0, 0];
  const locked = cd.locked ? 2 : 0;
  const capabilities = [
    0x2a,
    18,
    0x03,
    0,
    0x71,
    0x60,
    0x29 | locked,
    0,
    ...big(706, 2),
    0,
    2,
    ...big(512, 2),
    ...big(706, 2),
    0,
    0,
    0,
    0,
  ];
  switch (page) {
    case 0x01:
      return recovery;
    case 0x2a:
      return capabilities;
    case 0x3f:
      return [...recovery, ...capabilities];
    default:
      return undefined;
  }
}

function modeSense(packet: Uint8Array, cd: CdState, disc: BlockBackend | undefined): PacketResult {
  const six = packet[0] === Packet.modeSense6;
  const page = (packet[2] ?? 0) & 0x3f;
  const pages = (packet[2] ?? 0) >> 6 === 3 ? undefined : modePages(page, cd);
  if (pages === undefined) return fail(cd, Sense.illegalRequest, Asc.invalidField);
  const medium = cd.open ? 0x71 : disc === undefined ? 0x70 : 0x01;
  const allocation = six ? (packet[4] ?? 0) : word(packet, 7);
  if (six) return reply(Uint8Array.from([3 + pages.length, medium, 0, 0, ...pages]), allocation);
  return reply(Uint8Array.from([...big(6 + pages.length, 2), medium, 0, 0, 0, 0, 0, ...pages]), allocation);
}

function word(packet: Uint8Array, at: number): number {
  return ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
}
function long(packet: Uint8Array, at: number): number {
  return word(packet, at) * 0x1_0000 + word(packet, at + 2);
}

/** MMC-3 6.5: only the media class (4) is reported, when asked by polling. */
function eventStatus(packet: Uint8Array, cd: CdState, disc: BlockBackend | undefined): PacketResult {
  if (!((packet[1] ?? 0) & 1)) return fail(cd, Sense.illegalRequest, Asc.invalidField);
  const mediaClass = 0x10;
  const supported = mediaClass;
  if (!((packet[4] ?? 0) & mediaClass)) return reply(Uint8Array.of(0, 2, 0x80, supported), word(packet, 7));
  const state = (cd.open ? 1 : 0) | (disc !== undefined && !cd.open ? 2 : 0);
  const bytes = Uint8Array.of(0, 6, 4, supported, cd.event, state, 0, 0);
  cd.event = 0;
  return reply(bytes, word(packet, 7));
}

function startStop(packet: Uint8Array, cd: CdState): PacketResult {
  const operation = (packet[4] ?? 0) & 3;
  if (operation < 2) return { kind: 'done' }; // spin down and up
  const open = operation === 2;
  if (open && cd.locked) return fail(cd, Sense.illegalRequest, Asc.removalPrevented, 2);
  return { kind: 'tray', open };
}

function read(packet: Uint8Array, cd: CdState, sectors: number): PacketResult {
  const sector = long(packet, 2);
  const count =
    packet[0] === Packet.read12
      ? long(packet, 6)
      : packet[0] === Packet.readCd
        ? (word(packet, 6) << 8) | (packet[8] ?? 0)
        : word(packet, 7);
  if (count === 0) return { kind: 'done' };
  // READ CD: of the parts of a sector only the user data can be asked for.
  if (packet[0] === Packet.readCd && ((packet[9] ?? 0) & 0xf8) === 0) return { kind: 'done' };
  if (packet[0] === Packet.readCd && ((packet[9] ?? 0) & 0xf8) !== 0x10)
    return fail(cd, Sense.illegalRequest, Asc.invalidField);
  if (sector + count > sectors) return fail(cd, Sense.illegalRequest, Asc.lbaOutOfRange);
  return { kind: 'read', sector, count };
}

/** Commands that need no disc. */
function withoutDisc(
  packet: Uint8Array,
  cd: CdState,
  drive: { model: string; disc: BlockBackend | undefined },
): PacketResult | undefined {
  switch (packet[0]) {
    case Packet.requestSense:
      return reply(requestSense(cd), packet[4] ?? 0);
    case Packet.inquiry:
      return reply(inquiry(drive.model), packet[4] ?? 0);
    case Packet.startStop:
      return startStop(packet, cd);
    case Packet.preventRemoval:
      cd.locked = ((packet[4] ?? 0) & 1) !== 0;
      return { kind: 'done' };
    case Packet.modeSense6:
    case Packet.modeSense10:
      return modeSense(packet, cd, drive.disc);
    case Packet.getConfiguration:
      return reply(configuration(packet, drive.disc), word(packet, 7));
    case Packet.getEvent:
      return eventStatus(packet, cd, drive.disc);
    case Packet.mechanismStatus:
      return reply(Uint8Array.of(0, cd.open ? 0x10 : 0, 0, 0, 0, 1, 0, 0), word(packet, 8));
    case Packet.setSpeed:
    case Packet.syncCache:
      return { kind: 'done' };
    default:
      return undefined;
  }
}

function withDisc(packet: Uint8Array, cd: CdState, sectors: number): PacketResult {
  switch (packet[0]) {
    case Packet.testUnitReady:
    case Packet.verify:
      return { kind: 'done' };
    case Packet.seek:
      return long(packet, 2) < sectors ? { kind: 'done' } : fail(cd, Sense.illegalRequest, Asc.lbaOutOfRange);
    case Packet.readCapacity:
      return { kind: 'data', bytes: Uint8Array.from([...big(sectors - 1, 4), ...big(cdSectorBytes, 4)]) };
    case Packet.read10:
    case Packet.read12:
    case Packet.readCd:
      return read(packet, cd, sectors);
    case Packet.readToc: {
      const table = tableOfContents(packet, sectors);
      return table === undefined
        ? fail(cd, Sense.illegalRequest, Asc.invalidField)
        : reply(table, word(packet, 7));
    }
    case Packet.readDiscInformation:
      return reply(
        Uint8Array.from([0, 32, 0x0e, 1, 1, 1, 1, 0x20, ...new Array<number>(26).fill(0)]),
        word(packet, 7),
      );
    case Packet.readSubchannel:
      return reply(Uint8Array.of(0, 0x15, 0, 0), word(packet, 7));
    default:
      return fail(cd, Sense.illegalRequest, Asc.invalidCommand);
  }
}

const known = new Set<number>(Object.values(Packet));

export function packetCommand(
  packet: Uint8Array,
  cd: CdState,
  drive: { model: string; disc: BlockBackend | undefined },
): PacketResult {
  const operation = packet[0] ?? 0;
  if (cd.changed && !withoutAttention.includes(operation)) {
    cd.changed = false;
    return fail(cd, Sense.unitAttention, Asc.mediumChanged);
  }
  if (operation !== Packet.requestSense) Object.assign(cd, { senseKey: Sense.none, asc: 0, ascq: 0 });
  const disc = cd.open ? undefined : drive.disc;
  const answer = withoutDisc(packet, cd, { model: drive.model, disc });
  if (answer !== undefined) return answer;
  if (!known.has(operation)) return fail(cd, Sense.illegalRequest, Asc.invalidCommand);
  if (disc === undefined)
    return fail(cd, Sense.notReady, Asc.noMedium, cd.open ? noMediumTrayOpen : noMediumTrayClosed);
  return withDisc(packet, cd, sectorsOf(disc));
}
