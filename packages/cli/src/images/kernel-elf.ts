/**
 * Takes a Linux kernel's ELF file out of its bzImage, on the host. A guest that is started from the ELF needs
 * not unpack itself: 0.5 instead of 6 thousand million guest instructions up to the first line of init.
 * Source: linux/Documentation/arch/x86/boot.rst (payload_offset, payload_length).
 */
import { spawnSync } from 'node:child_process';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { lz4LegacyMagic, unpackLz4Legacy } from './lz4-legacy.ts';

/** Offsets in the setup header. */
const Setup = {
  sectors: 0x1f1,
  magic: 0x202,
  version: 0x206,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
} as const;
const setupMagic = 0x5372_6448; // "HdrS"
const sectorBytes = 512;

/** Unpacks one xz stream. Throws CliError (unavailable) where there is no command xz. */
export function unpackXz(packed: Uint8Array): Uint8Array {
  // Linux appends the unpacked size, which xz would call garbage: one stream only.
  const result = spawnSync('xz', ['--decompress', '--stdout', '--single-stream'], {
    input: packed,
    maxBuffer: 1 << 30,
  });
  if (result.error !== undefined) {
    throw new CliError(
      ExitCode.unavailable,
      'the kernel is packed with xz, and there is no command xz',
      'install xz-utils',
    );
  }
  if (result.status !== 0) throw new Error(result.stderr.toString().trim());
  return result.stdout;
}

function unpack(packed: Uint8Array, unpackedBytes: number): Uint8Array {
  const magic = new DataView(packed.buffer, packed.byteOffset).getUint32(0, true);
  if (magic === lz4LegacyMagic) return unpackLz4Legacy(packed, unpackedBytes);
  if (magic === 0x587a_37fd) return unpackXz(packed); // fd "7zXZ"
  if (magic === 0xfd2f_b528) return zstdDecompressSync(packed.subarray(0, -4));
  if ((magic & 0xffff) === 0x8b1f) return gunzipSync(packed);
  throw new Error(`unknown compression, magic number ${magic.toString(16)}`);
}

/**
 * @param bzImage a whole kernel file, boot protocol 2.08 or later
 * @returns the kernel's ELF file
 * @throws CliError when it is no kernel, is cut off, or is packed in a way nobody here can unpack
 */
export function extractKernelElf(bzImage: Uint8Array): Uint8Array {
  const view = new DataView(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength);
  if (bzImage.length < 0x260 || view.getUint32(Setup.magic, true) !== setupMagic) {
    throw new CliError(ExitCode.badInput, 'not a Linux kernel: no HdrS at offset 0x202');
  }
  if (view.getUint16(Setup.version, true) < 0x208)
    throw new CliError(ExitCode.badInput, 'kernel older than boot protocol 2.08');
  const start = (view.getUint8(Setup.sectors) + 1) * sectorBytes + view.getUint32(Setup.payloadOffset, true);
  const end = start + view.getUint32(Setup.payloadLength, true);
  if (end > bzImage.length || end - start < 8)
    throw new CliError(ExitCode.badInput, 'the kernel file is cut off');
  const packed = bzImage.subarray(start, end);
  try {
    const elf = unpack(packed, view.getUint32(end - 4, true));
    if (elf[0] !== 0x7f || elf[1] !== 0x45) throw new Error('what it holds is no ELF file');
    return elf;
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(ExitCode.badInput, `can't unpack the kernel: ${messageOf(error)}`, undefined, error);
  }
}
