/** The random source behind RDRAND and RDSEED: xorshift128+ over a state whose seed is a logged input (Machine.randomState). */
import { Machine_randomState, Region_machine } from '../generated/layout';

/** The next 64 random bits. */
export function rdrand(_cpu: i32): i64 {
  let a = load<u64>(Region_machine, Machine_randomState);
  const b = load<u64>(Region_machine, Machine_randomState + 8);
  // A state of zeros would stay zero.
  if ((a | b) == 0) a = 0x9e37_79b9_7f4a_7c15;
  const result = a + b;
  a ^= a << 23;
  store<u64>(Region_machine, b, Machine_randomState);
  store<u64>(Region_machine, a ^ b ^ (a >> 18) ^ (b >> 5), Machine_randomState + 8);
  return result as i64;
}
