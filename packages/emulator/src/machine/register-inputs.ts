/** Registers that a debugger changes, as inputs: what the log of a machine has to have so that its run can be repeated. */
import { cpuStateSchema, segmentNames, type CpuState, type SegmentState } from './cpu-state.ts';
import type { InputOf } from './edge/table.ts';

type Value = bigint | number | Uint8Array;
type SegmentField = keyof SegmentState;

/** In the order of their bytes; each takes eight. */
// prettier-ignore
const segmentFields: readonly SegmentField[] = [
  'selector', 'base', 'limit', 'attributes', 'limitMin', 'readEnd', 'writeEnd', 'unusable',
];

function bytesOf(values: readonly (bigint | number)[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  values.forEach((value, n) => {
    view.setBigInt64(n * 8, BigInt(value), true);
  });
  return bytes;
}

function segmentOf(value: Uint8Array, before: SegmentState): SegmentState {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const entries = segmentFields.map((name, n) => {
    const word = view.getBigInt64(n * 8, true);
    return [name, typeof before[name] === 'bigint' ? word : Number(word)];
  });
  return Object.fromEntries(entries) as unknown as SegmentState;
}

/** The name of a processor's register in an input: that alone means the processor whose turn it is. */
const ofProcessor = /^cpu(\d+)\.(.+)$/;

/** Which processor's register an input changes, and which; undefined: of the one whose turn it is. */
export function poked(name: string): { cpu: number | undefined; register: string } {
  const [, cpu, register] = ofProcessor.exec(name) ?? [];
  return cpu === undefined || register === undefined
    ? { cpu: undefined, register: name }
    : { cpu: Number(cpu), register };
}

/**
 * One input for each register that is not what it was; a segment, with its hidden part, is one register. `cpu`: of a processor whose turn it may not be.
 */
export function registerInputs(
  before: CpuState,
  changes: Partial<CpuState>,
  cpu?: number,
): InputOf<'pokeRegister'>[] {
  const { segments, ...plain } = changes;
  const prefix = cpu === undefined ? '' : `cpu${String(cpu)}.`;
  const inputs: InputOf<'pokeRegister'>[] = [];
  for (const [register, value] of Object.entries(plain) as [string, Value][])
    inputs.push({
      kind: 'pokeRegister',
      register: prefix + register,
      value: value instanceof Uint8Array ? value : bytesOf([value]),
    });
  for (const name of segmentNames) {
    const after = segments?.[name];
    if (after === undefined || segmentFields.every((field) => after[field] === before.segments[name][field]))
      continue;
    const value = bytesOf(segmentFields.map((field) => after[field]));
    inputs.push({ kind: 'pokeRegister', register: `${prefix}segments.${name}`, value });
  }
  return inputs;
}

/** The registers with that one changed; undefined when no processor has it, or it can't have that value. */
export function withRegister(
  before: CpuState,
  { register, value }: { register: string; value: Uint8Array },
): CpuState | undefined {
  const segment = segmentNames.find((name) => register === `segments.${name}`);
  const [known, size] = [valueOf(before, register), segment === undefined ? 8 : 8 * segmentFields.length];
  if (known instanceof Uint8Array ? value.length !== known.length : value.length !== size) return undefined;
  let change: Partial<CpuState>;
  if (segment !== undefined)
    change = { segments: { ...before.segments, [segment]: segmentOf(value, before.segments[segment]) } };
  else if (known === undefined) return undefined;
  else if (known instanceof Uint8Array) change = { [register]: value };
  else {
    const word = new DataView(value.buffer, value.byteOffset, value.byteLength).getBigInt64(0, true);
    change = { [register]: typeof known === 'bigint' ? word : Number(word) };
  }
  try {
    return cpuStateSchema.copy({ ...before, ...change }, 'cpu');
  } catch {
    return undefined;
  }
}

function valueOf(cpu: CpuState, register: string): Value | undefined {
  const value: unknown = Object.hasOwn(cpu, register) ? cpu[register as keyof CpuState] : undefined;
  return typeof value === 'bigint' || typeof value === 'number' || value instanceof Uint8Array
    ? value
    : undefined;
}
