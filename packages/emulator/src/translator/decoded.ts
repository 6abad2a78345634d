/** Decoded blocks as the translator sees them: the records of core/decode.ts, read from linear memory. */
import { Block, Record, recordBytes } from '../cpu/layout.ts';
import type { HandlerSlot } from '../cpu/decode-tables.ts';
import type { Row } from '../cpu/table/row.ts';

export interface DecodedInstruction {
  /** Address of its record. */
  record: number;
  row: Row;
  size: number;
  /** Form of table/row.ts. */
  form: number;
  key: number;
  pageOffset: number;
  length: number;
  /** RecordPrefix bits. */
  prefixes: number;
  /** Offsets in the vCPU block, or numbers, as the record has them. */
  rm: number;
  reg: number;
  vvvv: number;
  segment: number;
  base: number;
  index: number;
  scale: number;
  displacement: bigint;
  immediate: bigint;
  immediate2: number;
  addressMask: bigint;
}

export interface DecodedBlock {
  /** Address of the block's header. */
  header: number;
  /** Address of its page in linear memory, and Block.changes when it was read. */
  hostPage: number;
  changes: number;
  /** First record of an instruction. */
  first: number;
  pageOffset: number;
  /** Bytes from the beginning of the region's first page in linear address space to the block, and behind its last instruction. */
  place: number;
  end: number;
  instructions: DecodedInstruction[];
  /** Instructions behind the last one that has a row. */
  untranslated: number;
  /** True when the block just ends (page end, length): control falls into the next one. */
  fallsThrough: boolean;
}

/** Reads the block whose first instruction record is at `first`, `page` pages behind the region's first; undefined when a record has no row (undefined instruction, stale). */
export function readBlock(
  view: DataView,
  first: number,
  slots: ReadonlyMap<number, HandlerSlot>,
  page: number,
): DecodedBlock | undefined {
  const header = view.getUint32(first + Record.block, true);
  const key = view.getInt32(header + Block.key, true);
  const count = view.getUint8(first + Record.toEnd);
  const instructions: DecodedInstruction[] = [];
  for (let i = 0; i < count; i++) {
    const record = first + i * recordBytes;
    const slot = slots.get(view.getUint16(record + Record.handler, true));
    if (slot === undefined) break;
    instructions.push(readInstruction(view, record, slot, key));
  }
  const last = instructions.at(-1);
  if (last === undefined) return undefined;
  const complete = instructions.length === count;
  return {
    header,
    hostPage: view.getUint32(header + Block.host, true) & ~4095,
    changes: view.getUint32(header + Block.changes, true),
    first,
    pageOffset: view.getUint16(first + Record.pageOffset, true),
    place: page * 4096 + view.getUint16(first + Record.pageOffset, true),
    end: page * 4096 + last.pageOffset + last.length,
    instructions,
    untranslated: count - instructions.length,
    fallsThrough: complete && last.row.options.end === undefined,
  };
}

function readInstruction(view: DataView, record: number, slot: HandlerSlot, key: number): DecodedInstruction {
  const u16 = (offset: number): number => view.getUint16(record + offset, true);
  return {
    record,
    row: slot.row,
    size: slot.size,
    form: slot.form,
    key,
    pageOffset: u16(Record.pageOffset),
    length: view.getUint8(record + Record.length),
    prefixes: view.getUint8(record + Record.prefixes),
    rm: u16(Record.rm),
    reg: u16(Record.reg),
    vvvv: u16(Record.vvvv),
    segment: u16(Record.segment),
    base: u16(Record.base),
    index: u16(Record.index),
    scale: view.getUint8(record + Record.scale),
    displacement: view.getBigInt64(record + Record.displacement, true),
    immediate: view.getBigInt64(record + Record.immediate, true),
    immediate2: view.getInt32(record + Record.immediate2, true),
    addressMask: view.getBigInt64(record + Record.addressMask, true),
  };
}
