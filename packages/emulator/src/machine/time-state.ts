/** The machine's own part of a checkpoint: how virtual time runs, the random source behind RDRAND, the numbers of its streams. */
import { streamsSchema } from './edge/streams.ts';
import { defineState, i64, integer, record, type Infer } from '../devices/schema.ts';

const schema = record({
  baseNs: i64,
  baseCount: i64,
  /** ns per instruction, 16.16. */
  rate: integer(1, 0xffff_ffff),
  random0: i64,
  random1: i64,
  /** Numbers that the next input and the next output of each stream get. */
  inputs: streamsSchema,
  outputs: streamsSchema,
});
export const machineState = defineState<Infer<typeof schema>>({
  name: 'machine',
  version: 2,
  schema,
  // Version 1 did not count what came in and went out.
  migrations: { 1: (old) => ({ ...(old as object), inputs: [], outputs: [] }) },
});
