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

/** Columns as wide as their widest cell; the last one runs free. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => (i === line.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Names and values below each other, the values aligned. */
export function fields(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n');
}
