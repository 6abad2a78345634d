/**
 * The kernel's log: the printk ring buffer of Linux 5.10 and later (kernel/printk/printk_ringbuffer.h). A ring of descriptors says where
 * each record's text lies in a ring of bytes; a ring of infos beside it has the rest.
 *
 *   struct printk_ringbuffer: u32 count_bits; desc *; info *; long head_id, tail_id [, last_finalized_id];
 *                             u32 size_bits; char *data; long head_lpos, tail_lpos; …
 *   struct prb_desc:          long state_var (state in the two highest bits, the rest the id); long begin, next
 *   struct printk_info:       u64 seq, ts_nsec; u16 text_len; u8 facility, flags:5 level:3; u32 caller_id; …
 */
import { utf8Text } from '../bytes.ts';
import { KernelDataError, type KernelMemory } from './kernel-memory.ts';
import type { KernelInside } from './locate.ts';

const infoBytes = 88;
const Info = { seq: 0, time: 8, textLength: 16, facility: 18, level: 19 } as const;
const DescState = { committed: 1n, finalized: 2n } as const;
/** Records have 32 bytes of text on average (PRB_AVGBITS): so many more bits than descriptors. */
const averageBits = 5;
const leastBits = 5;
const mostBits = 20;
/** Lowest bit of a position: no text (FAILED_LPOS, NO_LPOS). */
const noText = 1n;

export interface LogRecord {
  sequence: number;
  /** Since boot, in microseconds. */
  timeUs: number;
  /** 0 (emergency) to 7 (debug). */
  level: number;
  text: string;
}

interface Ring {
  countBits: number;
  descs: bigint;
  infos: bigint;
  head: bigint;
  tail: bigint;
  sizeBits: number;
  data: bigint;
}

/** All records, the oldest first. Throws KernelDataError when there is no such ring. */
export async function readLog(kernel: KernelInside): Promise<LogRecord[]> {
  const { symbols, memory } = kernel;
  const pointer = symbols.addresses.get('prb');
  if (pointer !== undefined) {
    const at = await memory.pointer(pointer);
    const ring = ringAt(memory, await memory.view(at, ringBytes(memory)), 0);
    if (ring === undefined)
      throw new KernelDataError('the log has another layout than that of Linux 5.10 and later');
    return recordsOf(memory, ring);
  }
  // A kernel that changes to a larger buffer leaves the first one as it was: the newest record tells which is in use.
  let newest: LogRecord[] = [];
  for (const ring of await ringsIn(kernel)) {
    const records = await recordsOf(memory, ring);
    if ((records.at(-1)?.sequence ?? -1) > (newest.at(-1)?.sequence ?? -1)) newest = records;
  }
  if (newest.length === 0)
    throw new KernelDataError('no log like that of Linux 5.10 and later is in its data');
  return newest;
}

const ringBytes = ({ pointerBytes }: KernelMemory): number => 10 * pointerBytes;

/** The ring at a place of bytes, when its numbers agree. */
function ringAt(memory: KernelMemory, view: DataView, at: number): Ring | undefined {
  const word = memory.pointerBytes;
  const countBits = view.getUint32(at, true);
  if (countBits < leastBits || countBits > mostBits) return undefined;
  const read = (n: number): bigint => memory.wordOf(view, at + n * word);
  const [descs, infos] = [read(1), read(2)];
  if (!memory.isKernel(descs) || !memory.isKernel(infos)) return undefined;
  // last_finalized_id is there since 5.11.
  for (const textAt of [6, 5]) {
    const sizeBits = view.getUint32(at + textAt * word, true);
    const data = read(textAt + 1);
    if (sizeBits === countBits + averageBits && memory.isKernel(data))
      return { countBits, descs, infos, head: read(3), tail: read(4), sizeBits, data };
  }
  return undefined;
}

/** For kernels that keep no names of data. */
async function ringsIn({ memory, image }: KernelInside): Promise<Ring[]> {
  const view = new DataView(image.bytes.buffer, image.bytes.byteOffset, image.bytes.length);
  const rings: Ring[] = [];
  for (let at = 0; at + ringBytes(memory) <= view.byteLength; at += memory.pointerBytes) {
    const ring = ringAt(memory, view, at);
    if (ring !== undefined && (await headFits(memory, ring))) rings.push(ring);
  }
  return rings;
}

const idMask = ({ pointerBytes }: KernelMemory): bigint => (1n << BigInt(pointerBytes * 8 - 2)) - 1n;

async function headFits(memory: KernelMemory, { descs, head, countBits }: Ring): Promise<boolean> {
  const word = memory.pointerBytes;
  try {
    const at = descs + (head & ((1n << BigInt(countBits)) - 1n)) * BigInt(3 * word);
    return ((await memory.pointer(at)) & idMask(memory)) === (head & idMask(memory));
  } catch (error) {
    if (error instanceof KernelDataError) return false;
    throw error;
  }
}

async function recordsOf(memory: KernelMemory, ring: Ring): Promise<LogRecord[]> {
  const word = memory.pointerBytes;
  const mask = idMask(memory);
  const count = 1 << ring.countBits;
  const descs = await memory.view(ring.descs, count * 3 * word);
  const infos = await memory.view(ring.infos, count * infoBytes);
  const text = await memory.view(ring.data, 1 << ring.sizeBits);
  const records: LogRecord[] = [];
  const used = Number((ring.head - ring.tail) & mask) + 1;
  for (let n = 0; n < Math.min(used, count); n++) {
    const id = (ring.tail + BigInt(n)) & mask;
    const index = Number(id & BigInt(count - 1));
    const stateVar = memory.wordOf(descs, index * 3 * word);
    const state = stateVar >> BigInt(word * 8 - 2);
    if ((stateVar & mask) !== id || (state !== DescState.committed && state !== DescState.finalized))
      continue;
    const begin = memory.wordOf(descs, (index * 3 + 1) * word);
    const next = memory.wordOf(descs, (index * 3 + 2) * word);
    const info = index * infoBytes;
    records.push({
      sequence: Number(infos.getBigUint64(info + Info.seq, true)),
      timeUs: Number(infos.getBigUint64(info + Info.time, true) / 1000n),
      level: infos.getUint8(info + Info.level) >> 5,
      text: textOf(
        text,
        { begin, next, sizeBits: ring.sizeBits, idBytes: word },
        infos.getUint16(info + Info.textLength, true),
      ),
    });
  }
  return records.sort((a, b) => a.sequence - b.sequence);
}

interface Block {
  begin: bigint;
  next: bigint;
  sizeBits: number;
  /** A block begins with the descriptor's id. */
  idBytes: number;
}

function textOf(data: DataView, { begin, next, sizeBits, idBytes }: Block, length: number): string {
  if (begin & noText) return '';
  const size = 1n << BigInt(sizeBits);
  // A block that would go over the end is at the beginning instead.
  const wrapped = begin >> BigInt(sizeBits) !== (next - 1n) >> BigInt(sizeBits);
  const at = (wrapped ? 0 : Number(begin % size)) + idBytes;
  const end = Math.min(at + length, wrapped ? Number(next % size) : data.byteLength);
  return utf8Text(new Uint8Array(data.buffer, data.byteOffset + at, Math.max(0, end - at)));
}

/** `[    1.234567] text`, as dmesg prints it; lines of one record below each other. */
export function logLine({ timeUs, text }: LogRecord): string {
  const stamp = `[${(timeUs / 1e6).toFixed(6).padStart(12)}] `;
  return text
    .split('\n')
    .map((line, n) => (n === 0 ? stamp : ' '.repeat(stamp.length)) + line)
    .join('\n');
}
