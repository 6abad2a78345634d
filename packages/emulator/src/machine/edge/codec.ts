/**
 * The binary form of inputs, logs and outputs, made from the table (table.ts). A message is a byte with the version of this form, a byte
 * that says what it holds, and its entries. An entry is the code of its kind, its stamp (not of inputs on their way to a machine), its
 * fields. Stamps are differences to the entry before; a number is the difference to the one expected in its stream.
 */
import { DeviceStateError } from '../../devices/schema.ts';
import { insist } from '../../insist.ts';
import { ByteReader, ByteWriter, EdgeError } from './fields.ts';
import {
  inputKinds,
  kindOf,
  outputKinds,
  streamOf,
  unitsOf,
  type Kind,
  type LoggedInput,
  type MachineInput,
  type MachineOutput,
  type Stamp,
  type StampedOutput,
  type Table,
} from './table.ts';

const version = 1;
const Form = { inputs: 1, log: 2, outputs: 3 } as const;
type Form = (typeof Form)[keyof typeof Form];
/** No message is longer. */
export const maxMessageBytes = 16 * 2 ** 20;

type Item = MachineInput | MachineOutput;
interface Entry extends Stamp {
  item: Item;
}

/** What the stamps of a message are told relative to; the same for writer and reader. */
class Expectation {
  readonly #table: Table;
  readonly #numbers = new Map<string, number>();
  instructions = 0n;
  timeNs = 0n;

  constructor(table: Table) {
    this.#table = table;
  }

  number(item: Item): number {
    return this.#numbers.get(streamOf(this.#table, item)) ?? 0;
  }

  passed({ item, instructions, timeNs, number }: Entry): void {
    this.instructions = instructions;
    this.timeNs = timeNs;
    this.#numbers.set(streamOf(this.#table, item), number + unitsOf(this.#table, item));
  }
}

function knownKind(table: Table, name: string): Kind<unknown> {
  const kind = kindOf(table, name);
  if (kind === undefined)
    throw new EdgeError('EDGE_MESSAGE_INVALID', `edge message: no kind is called ${name}`);
  return kind;
}

function writeEntry(
  out: ByteWriter,
  table: Table,
  item: Item,
  stamp?: { of: Entry; expected: Expectation },
): void {
  const { code, schema } = knownKind(table, item.kind);
  out.unsigned(code);
  if (stamp !== undefined) {
    const { of, expected } = stamp;
    insist(isStamp(of), `the stamp of a ${item.kind} is none that a machine makes`);
    out.signedWide(of.instructions - expected.instructions);
    out.signedWide(of.timeNs - expected.timeNs);
    out.signedWide(BigInt(of.number - expected.number(item)));
    expected.passed(of);
  }
  schema.write(out, item);
}

/** Asked of what is written and of what is read. */
const isStamp = ({ instructions, number }: Pick<Stamp, 'instructions' | 'number'>): boolean =>
  instructions >= 0n && Number.isSafeInteger(number) && number >= 0;

/** What its reader would refuse is not sent. */
function finished(out: ByteWriter): Uint8Array<ArrayBuffer> {
  const bytes = out.finish();
  insist(bytes.length <= maxMessageBytes, `a message of the edge has ${String(bytes.length)} bytes`);
  return bytes;
}

function begin(form: Form): ByteWriter {
  const out = new ByteWriter();
  out.byte(version);
  out.byte(form);
  return out;
}

function encodeEntries(form: Form, table: Table, entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  const out = begin(form);
  const expected = new Expectation(table);
  for (const entry of entries) writeEntry(out, table, entry.item, { of: entry, expected });
  return finished(out);
}

function open(bytes: Uint8Array, form: Form): ByteReader {
  if (bytes.length > maxMessageBytes)
    throw new EdgeError('EDGE_MESSAGE_INVALID', `edge message: longer than ${String(maxMessageBytes)} bytes`);
  const from = new ByteReader(bytes);
  const found = from.byte();
  if (found !== version)
    throw new EdgeError(
      'EDGE_MESSAGE_VERSION',
      `edge message: of version ${String(found)}; this program reads version ${String(version)}`,
    );
  if (from.byte() !== form)
    throw new EdgeError('EDGE_MESSAGE_INVALID', 'edge message: it holds something else');
  return from;
}

function namesByCode(table: Table): ReadonlyMap<number, string> {
  return new Map(Object.entries(table).map(([name, { code }]) => [code, name]));
}
const inputNames = namesByCode(inputKinds);
const outputNames = namesByCode(outputKinds);

/** One item's fields, checked. */
function readFields<T extends Item>(from: ByteReader, table: Table, name: string): T {
  const { schema } = knownKind(table, name);
  try {
    return { kind: name, ...(schema.copy(schema.read(from), name) as object) } as T;
  } catch (error) {
    if (error instanceof DeviceStateError)
      throw new EdgeError('EDGE_MESSAGE_INVALID', `edge message: ${error.message}`);
    throw error;
  }
}

function nameOf(names: ReadonlyMap<number, string>, code: number): string {
  const name = names.get(code);
  if (name === undefined)
    throw new EdgeError('EDGE_MESSAGE_INVALID', `edge message: kind ${String(code)} is not known`);
  return name;
}

function decodeEntries(
  bytes: Uint8Array,
  form: Form,
  table: Table,
  names: ReadonlyMap<number, string>,
): Entry[] {
  const from = open(bytes, form);
  const expected = new Expectation(table);
  const entries: Entry[] = [];
  while (!from.done) {
    const name = nameOf(names, from.unsigned());
    const instructions = BigInt.asIntN(64, expected.instructions + from.signedWide());
    const timeNs = BigInt.asIntN(64, expected.timeNs + from.signedWide());
    const beyond = Number(from.signedWide());
    const item = readFields<Item>(from, table, name);
    const number = expected.number(item) + beyond;
    if (!isStamp({ instructions, number }))
      throw new EdgeError('EDGE_MESSAGE_INVALID', 'edge message: a stamp that no machine makes');
    const entry = { instructions, timeNs, number, item };
    expected.passed(entry);
    entries.push(entry);
  }
  return entries;
}

/** Inputs on their way to a machine, which stamps them. */
export function encodeInputs(inputs: readonly MachineInput[]): Uint8Array<ArrayBuffer> {
  const out = begin(Form.inputs);
  for (const input of inputs) writeEntry(out, inputKinds, input);
  return finished(out);
}

/** Throws EdgeError. */
export function decodeInputs(bytes: Uint8Array): MachineInput[] {
  const from = open(bytes, Form.inputs);
  const inputs: MachineInput[] = [];
  while (!from.done)
    inputs.push(readFields<MachineInput>(from, inputKinds, nameOf(inputNames, from.unsigned())));
  return inputs;
}

/** A log of inputs as bytes; `decodeLog` reads them. */
export function encodeLog(log: readonly LoggedInput[]): Uint8Array<ArrayBuffer> {
  const entries = log.map(({ input, ...stamp }) => ({ ...stamp, item: input }));
  return encodeEntries(Form.log, inputKinds, entries);
}

/** Throws EdgeError. */
export function decodeLog(bytes: Uint8Array): LoggedInput[] {
  return decodeEntries(bytes, Form.log, inputKinds, inputNames).map(({ item, ...stamp }) => ({
    ...stamp,
    input: item as MachineInput,
  }));
}

/** Outputs as bytes; `decodeOutputs` reads them. */
export function encodeOutputs(outputs: readonly StampedOutput[]): Uint8Array<ArrayBuffer> {
  const entries = outputs.map(({ output, ...stamp }) => ({ ...stamp, item: output }));
  return encodeEntries(Form.outputs, outputKinds, entries);
}

/** Throws EdgeError. */
export function decodeOutputs(bytes: Uint8Array): StampedOutput[] {
  return decodeEntries(bytes, Form.outputs, outputKinds, outputNames).map(({ item, ...stamp }) => ({
    ...stamp,
    output: item as MachineOutput,
  }));
}
