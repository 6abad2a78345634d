/** The kernel's symbols as a file that debuggers read: an ELF file of names alone. "System V ABI", chapter 4. */
import type { LinuxKernel } from './kernel.ts';

const absolute = 0xfff1;
const textSection = 1;
const global = 1 << 4;
const kind = { object: 1, function: 2 } as const;
const sectionNames = ['', '.text', '.symtab', '.strtab', '.shstrtab'] as const;
const sectionType = { nobits: 8, symbols: 2, strings: 3 } as const;
const allocated = 2;
const executable = 4;

/** Writes words of the width of the file's class. */
class ElfWriter {
  readonly wide: boolean;
  readonly bytes: Buffer;
  #at = 0;

  constructor(wide: boolean, size: number) {
    this.wide = wide;
    this.bytes = Buffer.alloc(size);
  }

  put(size: 1 | 2 | 4 | 8, value: number | bigint): this {
    if (size === 8) this.bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), this.#at);
    else this.bytes.writeUIntLE(Number(value), this.#at, size);
    this.#at += size;
    return this;
  }

  /** An address, offset or size. */
  word(value: number | bigint): this {
    return this.put(this.wide ? 8 : 4, value);
  }
}

interface Section {
  type: number;
  flags?: number;
  address?: bigint;
  offset: number;
  size: number | bigint;
  link?: number;
  info?: number;
  entryBytes?: number;
}

/** For `symbol-file target:kernel` of gdb. */
export function symbolFile(kernel: LinuxKernel): Uint8Array {
  const wide = kernel.inside.memory.pointerBytes === 8;
  const { from, to } = kernel.text;
  const entryBytes = wide ? 24 : 16;
  const symbols = new ElfWriter(wide, (kernel.inside.symbols.addresses.size + 1) * entryBytes);
  const names: Buffer[] = [Buffer.from([0])];
  let nameAt = 1;
  const add = (name: number, value: bigint, type: number, section: number): void => {
    if (wide) symbols.put(4, name).put(1, type).put(1, 0).put(2, section).put(8, value).put(8, 0);
    else symbols.put(4, name).put(4, value).put(4, 0).put(1, type).put(1, 0).put(2, section);
  };
  add(0, 0n, 0, 0);
  for (const [name, address] of kernel.inside.symbols.addresses) {
    const isCode = address >= from && address < to;
    add(nameAt, address, global | (isCode ? kind.function : kind.object), isCode ? textSection : absolute);
    const text = Buffer.from(`${name}\0`, 'latin1');
    names.push(text);
    nameAt += text.length;
  }
  return assemble(wide, { from, to, symbols: symbols.bytes, names: Buffer.concat(names), entryBytes });
}

interface Parts {
  from: bigint;
  to: bigint;
  symbols: Uint8Array;
  names: Uint8Array;
  entryBytes: number;
}

function assemble(wide: boolean, { from, to, symbols, names, entryBytes }: Parts): Uint8Array {
  const own = Buffer.from(`${sectionNames.join('\0')}\0`);
  const headerBytes = wide ? 64 : 52;
  const symbolsAt = headerBytes;
  const namesAt = symbolsAt + symbols.length;
  const ownAt = namesAt + names.length;
  const padding = (8 - ((ownAt + own.length) % 8)) % 8;
  const sectionsAt = ownAt + own.length + padding;
  const header = new ElfWriter(wide, headerBytes);
  // Magic, class, little-endian, version 1; ET_EXEC; EM_X86_64 or EM_386.
  for (const byte of [0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    header.put(1, byte);
  header
    .put(2, 2)
    .put(2, wide ? 62 : 3)
    .put(4, 1)
    .word(from)
    .word(0)
    .word(sectionsAt)
    .put(4, 0);
  header
    .put(2, headerBytes)
    .put(2, 0)
    .put(2, 0)
    .put(2, wide ? 64 : 40)
    .put(2, sectionNames.length)
    .put(2, 4);
  const sections = new ElfWriter(wide, sectionNames.length * (wide ? 64 : 40));
  const list: Section[] = [
    { type: 0, offset: 0, size: 0 },
    {
      type: sectionType.nobits,
      flags: allocated | executable,
      address: from,
      offset: headerBytes,
      size: to - from,
    },
    { type: sectionType.symbols, offset: symbolsAt, size: symbols.length, link: 3, info: 1, entryBytes },
    { type: sectionType.strings, offset: namesAt, size: names.length },
    { type: sectionType.strings, offset: ownAt, size: own.length },
  ];
  list.forEach(
    ({ type, flags = 0, address = 0n, offset, size, link = 0, info = 0, entryBytes: each = 0 }, n) => {
      const name = sectionNames.slice(0, n).reduce((sum, text) => sum + text.length + 1, 0);
      sections.put(4, name).put(4, type).word(flags).word(address).word(offset).word(size);
      sections.put(4, link).put(4, info).word(1).word(each);
    },
  );
  return Buffer.concat([header.bytes, symbols, names, own, new Uint8Array(padding), sections.bytes]);
}
