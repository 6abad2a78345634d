/** The machine's own part of a checkpoint: how virtual time runs, and the random source behind RDRAND. */
import { defineState, i64, integer, record, type Infer } from '../devices/schema.ts';

const schema = record({
  baseNs: i64,
  baseCount: i64,
  /** ns per instruction, 16.16. */
  rate: integer(1, 0xffff_ffff),
  random0: i64,
  random1: i64,
});
export const machineState = defineState<Infer<typeof schema>>({ name: 'machine', version: 1, schema });
