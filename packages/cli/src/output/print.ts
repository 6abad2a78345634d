/** What commands print: data on stdout, as text, tables or JSON; what happens meanwhile on stderr. */

/** One piece of data, on stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line about what is going on, on stderr. */
export function say(line: string): void {
  process.stderr.write(`revenant: ${line}\n`);
}

/** JSON has no wide integers and no bytes: the former become numbers up to 2^53, else decimal text; the latter hexadecimal text. */
function jsonValue(_key: string, item: unknown): unknown {
  if (typeof item === 'bigint')
    return item >= -(2n ** 53n) && item <= 2n ** 53n ? Number(item) : String(item);
  if (item instanceof Uint8Array) return Buffer.from(item).toString('hex');
  if (ArrayBuffer.isView(item)) return [...(item as unknown as Iterable<unknown>)];
  return item;
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, jsonValue, 2));
}

/** One value a line, so that a stream of them can be followed. */
export function printJsonLine(value: unknown): void {
  print(JSON.stringify(value, jsonValue));
}

export { fields, table } from '@revenant/debugger/inspect/columns';
