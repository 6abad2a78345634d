/** PDEP and PEXT: SDM Vol. 2. */

/** The low bits of `source` to the places of the bits of `mask`. */
export function depositBits(_cpu: i32, source: i64, mask: i64): i64 {
  let rest = <u64>mask;
  let bits = <u64>source;
  let result: u64 = 0;
  while (rest != 0) {
    const lowest = rest & (0 - rest);
    if (bits & 1) result |= lowest;
    bits >>= 1;
    rest ^= lowest;
  }
  return <i64>result;
}

/** The bits of `source` at the places of the bits of `mask`, side by side. */
export function extractBits(_cpu: i32, source: i64, mask: i64): i64 {
  let rest = <u64>mask;
  let result: u64 = 0;
  for (let at: u64 = 0; rest != 0; at++) {
    const lowest = rest & (0 - rest);
    if ((<u64>source) & lowest) result |= (<u64>1) << at;
    rest ^= lowest;
  }
  return <i64>result;
}
