/** Moves and fills of a few bytes to a page, for translated string instructions. Addresses of linear memory. */

/** Copies `bytes` (1-4096) bytes; `to` does not lie inside of the source. */
export function copyForward(to: u32, from: u32, bytes: i32): void {
  // Short and apart: 16 or 8 bytes at a time, the last ones again where they overlap.
  if (bytes > 256 || from - to < <u32>bytes) {
    memory.copy(to, from, bytes);
    return;
  }
  if (bytes >= 16) {
    const last = bytes - 16;
    for (let i = 0; i < last; i += 16) v128.store(to + i, v128.load(from + i));
    v128.store(to + last, v128.load(from + last));
  } else if (bytes >= 8) {
    store<u64>(to, load<u64>(from));
    store<u64>(to + bytes - 8, load<u64>(from + bytes - 8));
  } else if (bytes >= 4) {
    store<u32>(to, load<u32>(from));
    store<u32>(to + bytes - 4, load<u32>(from + bytes - 4));
  } else {
    for (let i = 0; i < bytes; i++) store<u8>(to + i, load<u8>(from + i));
  }
}

/** Fills with `pattern`, whose elements of 1 to 8 bytes divide `bytes`. */
export function fillForward(to: u32, bytes: i32, pattern: u64): void {
  if (bytes > 256 && pattern == (pattern & 0xff) * 0x0101_0101_0101_0101) {
    memory.fill(to, <u8>pattern, bytes);
    return;
  }
  if (bytes >= 8) {
    const last = bytes - 8;
    for (let i = 0; i < last; i += 8) store<u64>(to + i, pattern);
    store<u64>(to + last, pattern);
  } else if (bytes >= 4) {
    store<u32>(to, <u32>pattern);
    store<u32>(to + bytes - 4, <u32>pattern);
  } else {
    // One element of two bytes, or up to three of one.
    for (let i = 0; i < bytes; i++) store<u8>(to + i, <u8>(pattern >> (i << 3)));
  }
}
