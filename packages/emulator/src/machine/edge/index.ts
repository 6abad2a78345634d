/** The guest's edge, as others see it. */
export {
  decodeInputs,
  decodeLog,
  decodeOutputs,
  encodeInputs,
  encodeLog,
  encodeOutputs,
  maxMessageBytes,
} from './codec.ts';
export { checkInput, type InputConsumers } from './edge.ts';
export { EdgeError } from './fields.ts';
export type { InputResult, Taken } from './input-queue.ts';
export { OutputQueue } from './output-queue.ts';
export { StreamOrder } from './streams.ts';
export {
  inputKinds,
  maxSerialBytes,
  outputKinds,
  streamOf,
  unitsOf,
  type InputFields,
  type InputKind,
  type InputOf,
  type LoggedInput,
  type MachineInput,
  type MachineOutput,
  type OutputKind,
  type OutputOf,
  type Stamp,
  type StampedOutput,
} from './table.ts';
