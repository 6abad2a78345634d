/**
 * The files that a stub has for its debugger ("Debugging with GDB", Host I/O Packets): read only, by name. gdb reads one with
 * `symbol-file target:NAME`.
 */
import { bytesOf, maxPacketBytes } from './packets.ts';

/** Undefined: there is no such file. */
export type FileOf = (name: string) => Promise<Uint8Array | undefined>;

/** Numbers of the protocol's own, whatever those of the hosts. */
const errors = { noEntry: 2, badDescriptor: 9, readOnly: 30 } as const;
const mostOpen = 16;
const statBytes = 64;
const regularFile = 0o100_444;

const fails = (error: number): string => `F-1,${error.toString(16)}`;

/** What is sent as it is: `#`, `$`, `}`, `*` are escaped by whoever makes the packet. */
function attached(result: number, data: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`F${result.toString(16)};`), data]);
}

/** struct stat of the protocol: big-endian, the size at 28. */
function stat(size: number): Uint8Array {
  const bytes = Buffer.alloc(statBytes);
  bytes.writeUInt32BE(regularFile, 8);
  bytes.writeUInt32BE(1, 12);
  bytes.writeBigUInt64BE(BigInt(size), 28);
  bytes.writeBigUInt64BE(4096n, 36);
  bytes.writeBigUInt64BE(BigInt(Math.ceil(size / 512)), 44);
  return bytes;
}

export class HostFiles {
  readonly #fileOf: FileOf;
  readonly #open = new Map<number, Uint8Array>();

  constructor(fileOf: FileOf) {
    this.#fileOf = fileOf;
  }

  /** The answer to `vFile:…`. */
  async answer(request: string): Promise<string | Uint8Array> {
    const [operation = '', rest = ''] = request.slice('vFile:'.length).split(/:(.*)/s);
    const words = rest.split(',');
    const [first = '0', count = '0', offset = '0'] = words;
    const file = this.#open.get(Number.parseInt(first, 16));
    switch (operation) {
      case 'setfs':
        return 'F0';
      case 'open':
        return this.#opened(words);
      case 'close':
        return this.#open.delete(Number.parseInt(first, 16)) ? 'F0' : fails(errors.badDescriptor);
      case 'fstat':
        return file === undefined ? fails(errors.badDescriptor) : attached(statBytes, stat(file.length));
      case 'pread': {
        if (file === undefined) return fails(errors.badDescriptor);
        const from = Number.parseInt(offset, 16);
        // Each byte may become two.
        const size = Math.min(Number.parseInt(count, 16), maxPacketBytes / 2 - 16);
        const part = file.subarray(from, from + size);
        return attached(part.length, part);
      }
      default:
        return '';
    }
  }

  async #opened([hex = '', flags = '0']: readonly string[]): Promise<string> {
    const name = Buffer.from(bytesOf(hex) ?? []).toString();
    if ((Number.parseInt(flags, 16) & 3) !== 0 || this.#open.size >= mostOpen) return fails(errors.readOnly);
    const file = await this.#fileOf(name).catch(() => undefined);
    if (file === undefined) return fails(errors.noEntry);
    let descriptor = 3;
    while (this.#open.has(descriptor)) descriptor++;
    this.#open.set(descriptor, file);
    return `F${descriptor.toString(16)}`;
  }
}
