/**
 * Segments of the input log (docs/LOG_FORMAT.md): what came into a machine, and when, by its count of retired instructions.
 *
 * A segment is an envelope around: header, name of the VM, entries. It covers the instructions after `from` up to `to`: whatever came in
 * there is in it. Its entries are inputs, bytes that mean nothing here; its `to` is a mark: nothing else came in up to that count. Each
 * segment names the one before it with its checksum, also across epochs, so that what one reads is the one history that led to its end.
 */
import { openBytes, sealBytes } from '../envelope.ts';
import type { CheckpointKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import type { StorageHost } from '../host.ts';
import { segmentKey } from '../checkpoint/keys.ts';
import { insist } from '../insist.ts';
import { ByteReader, ByteWriter } from './varint.ts';

const magic = 'RVLG';
const hashBytes = 32;
/** One input of the machine, as bytes that mean nothing here. */
export const maxPayloadBytes = 1 << 20;
const maxCount = 2n ** 64n - 1n;

/** Which segment: the `ordinal`th (from 1) of an epoch. */
export interface SegmentId {
  epoch: number;
  ordinal: number;
}

/** An input: something that came into a machine once it had retired `count` instructions. */
export interface LogEntry {
  count: bigint;
  payload: Uint8Array;
}

/** A segment as the next one names it. */
export interface SegmentRef extends SegmentId {
  /** Its checksum. */
  hash: Uint8Array;
}

export interface Segment extends SegmentId {
  vmId: string;
  /** Instructions up to which segments before this one tell what came in. */
  from: bigint;
  /** The same with this one. */
  to: bigint;
  /** The ordinal of this epoch from which on no instruction is left out, up to this segment. */
  opened: number;
  /** Number of its first input, counted over the VM's whole history from 1. */
  firstInput: bigint;
  /** The one before it; undefined: the log begins here. */
  previous: SegmentRef | undefined;
  entries: LogEntry[];
}

export interface DecodedSegment extends Segment {
  key: string;
  hash: Uint8Array;
  /** Number that the first input after it has. */
  nextInput: bigint;
}

/** What no writer makes, in words; undefined: nothing. Asked of what is written and of what is read. */
function whyImpossible(segment: Segment): string | undefined {
  const { epoch, ordinal, opened, from, to, firstInput, previous, entries } = segment;
  let count = from;
  for (const { count: at, payload } of entries) {
    if (at < count || payload.length > maxPayloadBytes) return 'an entry of it is impossible';
    count = at;
  }
  if (count > to || to > maxCount || ordinal < 1 || opened < 1 || opened > ordinal || firstInput < 1n)
    return 'its counts are impossible';
  const isFirst = previous === undefined || previous.epoch < epoch;
  if (isFirst ? ordinal !== 1 : previous.epoch > epoch || previous.ordinal !== ordinal - 1)
    return 'it does not follow the one that it names';
  return undefined;
}

/** Encodes a segment. Entries ascend in count, from `from` to `to`. */
export function encodeSegment(
  segment: Segment,
  options: { key?: CheckpointKey | undefined; host: StorageHost },
): Uint8Array {
  const key = segmentKey(segment.vmId, segment);
  const why = whyImpossible(segment);
  insist(why === undefined, `${key}: ${why ?? ''}`);
  const out = new ByteWriter();
  out.u64(BigInt(segment.epoch));
  out.u64(BigInt(segment.ordinal));
  out.u64(BigInt(segment.opened));
  out.u64(segment.from);
  out.u64(segment.to);
  out.u64(segment.firstInput);
  out.u64(BigInt(segment.previous?.epoch ?? 0));
  out.u64(BigInt(segment.previous?.ordinal ?? 0));
  out.bytes(segment.previous?.hash ?? new Uint8Array(hashBytes));
  const name = new TextEncoder().encode(segment.vmId);
  out.varint(BigInt(name.length));
  out.bytes(name);
  out.varint(BigInt(segment.entries.length));
  let count = segment.from;
  for (const entry of segment.entries) {
    out.varint(entry.count - count);
    count = entry.count;
    out.varint(BigInt(entry.payload.length));
    out.bytes(entry.payload);
  }
  return sealBytes(out.finish(), { magic: magic, name: key, ...options });
}

/**
 * Decodes the segment that lies under a name, and checks that it is the one.
 * @throws StorageError `LOG_DAMAGED` with its key; `CHECKPOINT_NEWER`, `KEY_NEEDED`, `KEY_WRONG`
 */
export function decodeSegment(
  vmId: string,
  id: SegmentId,
  bytes: Uint8Array,
  key: CheckpointKey | undefined,
): DecodedSegment {
  const name = segmentKey(vmId, id);
  try {
    const body = openBytes(bytes, { magic: magic, name, key });
    const segment = parse(new ByteReader(body));
    if (segment.vmId !== vmId || segment.epoch !== id.epoch || segment.ordinal !== id.ordinal)
      throw new RangeError('it is another segment, stored under a wrong name');
    const impossible = whyImpossible(segment);
    if (impossible !== undefined) throw new RangeError(impossible);
    const nextInput = segment.firstInput + BigInt(segment.entries.length);
    const hash = bytes.slice(bytes.length - hashBytes);
    return { ...segment, key: name, hash, nextInput };
  } catch (error) {
    const isDamage =
      error instanceof RangeError || (error instanceof StorageError && error.code === 'CHECKPOINT_DAMAGED');
    if (!isDamage) throw error;
    const why = error.message.startsWith(name) ? error.message : `${name}: ${error.message}`;
    throw new StorageError('LOG_DAMAGED', why, { cause: error });
  }
}

/** Whether a segment goes on from another: it names that one, leaves no instruction out between them, and counts its inputs on. */
export function follows(segment: Segment, before: DecodedSegment): boolean {
  const { previous, from, firstInput } = segment;
  const isNamed = previous !== undefined && Buffer.from(previous.hash).equals(before.hash);
  return isNamed && from === before.to && firstInput >= before.nextInput;
}

/** Throws RangeError for what is no segment. Nothing is allocated but what the bytes hold. */
function parse(bytes: ByteReader): Segment {
  const epoch = safe(bytes.u64());
  const ordinal = safe(bytes.u64());
  const opened = safe(bytes.u64());
  const from = bytes.u64();
  const to = bytes.u64();
  const firstInput = bytes.u64();
  const previousId = { epoch: safe(bytes.u64()), ordinal: safe(bytes.u64()) };
  const hash = new Uint8Array(bytes.take(hashBytes));
  const vmId = new TextDecoder().decode(bytes.take(safe(bytes.varint())));
  const wanted = safe(bytes.varint());
  const entries: LogEntry[] = [];
  let count = from;
  for (let i = 0; i < wanted; i++) {
    count += bytes.varint();
    entries.push({ count, payload: new Uint8Array(bytes.take(safe(bytes.varint()))) });
  }
  if (!bytes.atEnd) throw new RangeError('bytes follow its last entry');
  const previous = previousId.ordinal === 0 ? undefined : { ...previousId, hash };
  return { vmId, epoch, ordinal, opened, from, to, firstInput, previous, entries };
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError('a number of it is impossible');
  return Number(value);
}
