/**
 * Reads single files out of a tar stream (POSIX ustar, GNU long names are not needed for what we take) and stops
 * reading once it has them all, so that 70 MB of kernel modules need not be unpacked for one kernel.
 */
const blockBytes = 512;

/**
 * @param chunks the tar stream
 * @param wanted true for the paths (without leading "./") to be kept
 * @param enough how many files are wanted; reading stops after as many
 * @returns path → content
 */
export async function readTarFiles(
  chunks: AsyncIterable<Uint8Array>,
  wanted: (path: string) => boolean,
  enough: number,
): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  let buffered: Uint8Array[] = [];
  let available = 0;
  let skip = 0;
  let current: { path: string; bytes: number } | undefined;

  const take = (bytes: number): Buffer => {
    const all = Buffer.concat(buffered);
    buffered = [all.subarray(bytes)];
    available = all.length - bytes;
    return all.subarray(0, bytes);
  };

  for await (const chunk of chunks) {
    buffered.push(chunk);
    available += chunk.length;
    for (;;) {
      if (skip > 0) {
        const now = Math.min(skip, available);
        take(now);
        skip -= now;
        if (skip > 0) break;
      }
      if (current !== undefined) {
        if (available < current.bytes) break;
        found.set(current.path, new Uint8Array(take(current.bytes)));
        skip = -current.bytes & (blockBytes - 1);
        current = undefined;
        if (found.size >= enough) return found;
        continue;
      }
      if (available < blockBytes) break;
      const header = take(blockBytes);
      const size = Number.parseInt(header.toString('latin1', 124, 136), 8) || 0;
      const path = header.toString('latin1', 0, 100).replace(/\0.*$/s, '').replace(/^\.\//, '');
      const isFile = header[156] === 0x30 || header[156] === 0;
      if (isFile && wanted(path)) current = { path, bytes: size };
      else skip = (size + blockBytes - 1) & ~(blockBytes - 1);
    }
  }
  return found;
}
