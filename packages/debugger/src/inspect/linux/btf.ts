/** Layout of structures from the kernel's BTF, which Linux carries in its read-only data (Documentation/bpf/btf.rst). */
import { indexOfBytes } from '../bytes.ts';
import { cText } from './kernel-memory.ts';

/** Magic 0xeb9f, version 1, no flags, a header of 24 bytes. */
const headerStart = Uint8Array.of(0x9f, 0xeb, 0x01, 0x00, 24, 0, 0, 0);
const headerBytes = 24;
const typeBytes = 12;
const memberBytes = 12;
const Kind = { struct: 4, union: 5 } as const;

/** What follows a type's 12 bytes: so many bytes, and so many for each of `vlen`. */
const kindTrailer: Record<number, readonly [fixed: number, each: number]> = {
  1: [4, 0], // INT
  3: [12, 0], // ARRAY
  4: [0, 12], // STRUCT
  5: [0, 12], // UNION
  6: [0, 8], // ENUM
  13: [0, 8], // FUNC_PROTO
  14: [4, 0], // VAR
  15: [0, 12], // DATASEC
  17: [4, 0], // DECL_TAG
  19: [0, 12], // ENUM64
};
const mostKind = 19;

/** Offsets in bytes of a structure's members, those of unnamed structures in it too. */
export type Members = ReadonlyMap<string, number>;

interface BtfType {
  /** Where its 12 bytes are. */
  at: number;
  kind: number;
  vlen: number;
  bitfields: boolean;
}

interface Btf {
  view: DataView;
  types: readonly BtfType[];
  nameAt(offset: number): string;
}

/** The members of a structure, from the first BTF in an image that knows it. */
export function membersOf(bytes: Uint8Array, structure: string): Members | undefined {
  for (let at = indexOfBytes(bytes, headerStart); at >= 0; at = indexOfBytes(bytes, headerStart, at + 1)) {
    const btf = parse(bytes, at);
    const found = btf?.types.find(
      (type) => type.kind === Kind.struct && btf.nameAt(btf.view.getUint32(type.at, true)) === structure,
    );
    if (btf === undefined || found === undefined) continue;
    const members = new Map<string, number>();
    collect(btf, { type: found, base: 0, depth: 0 }, members);
    return members;
  }
  return undefined;
}

function parse(bytes: Uint8Array, start: number): Btf | undefined {
  if (start + headerBytes > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [typesAt = 0, typesLength = 0, textAt = 0, textLength = 0] = [8, 12, 16, 20].map((at) =>
    view.getUint32(start + at, true),
  );
  const first = start + headerBytes + typesAt;
  const end = first + typesLength;
  const texts = start + headerBytes + textAt;
  if (end > bytes.length || texts + textLength > bytes.length) return undefined;
  const types: BtfType[] = [];
  for (let at = first; at + typeBytes <= end;) {
    const info = view.getUint32(at + 4, true);
    const [kind, vlen] = [(info >>> 24) & 0x1f, info & 0xffff];
    const [fixed, each] = kindTrailer[kind] ?? [0, 0];
    const next = at + typeBytes + fixed + each * vlen;
    if (kind === 0 || kind > mostKind || next > end) return undefined;
    types.push({ at, kind, vlen, bitfields: info >>> 31 === 1 });
    at = next;
  }
  const nameAt = (offset: number): string =>
    offset < textLength ? cText(bytes.subarray(texts + offset, texts + textLength)) : '';
  return { view, types, nameAt };
}

function collect(
  btf: Btf,
  { type, base, depth }: { type: BtfType; base: number; depth: number },
  members: Map<string, number>,
): void {
  for (let member = 0; member < type.vlen; member++) {
    const at = type.at + typeBytes + member * memberBytes;
    const name = btf.nameAt(btf.view.getUint32(at, true));
    const place = btf.view.getUint32(at + 8, true);
    const offset = base + (type.bitfields ? place & 0xff_ffff : place) / 8;
    if (name !== '') {
      members.set(name, offset);
      continue;
    }
    // Type 1 is the first; 0 is void.
    const inner = btf.types[btf.view.getUint32(at + 4, true) - 1];
    if (inner !== undefined && (inner.kind === Kind.struct || inner.kind === Kind.union) && depth < 8)
      collect(btf, { type: inner, base: offset, depth: depth + 1 }, members);
  }
}
