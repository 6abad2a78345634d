/** Values as a person reads them: sizes, counts, times, addresses. */

export { hex } from '@revenant/debugger/inspect/bytes';

/** `12.3 MiB` */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** `2026-01-31 12:03:04` */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

/** Guest time: `12.345 s` */
export function guestTimeText(ns: bigint): string {
  return `${(Number(ns / 1_000_000n) / 1000).toFixed(3)} s`;
}

/** `1,234,567` */
export function countText(count: bigint | number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** Any plain value on one line. */
export function valueText(value: unknown): string {
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value))
    return Array.isArray(value)
      ? `[${value.map(valueText).join(', ')}]`
      : Object.entries(value)
          .map(([name, inner]) => `${name} ${valueText(inner)}`)
          .join(', ');
  if (value instanceof Uint8Array) {
    const digits = Buffer.from(value.subarray(0, 16)).toString('hex');
    return value.length > 16 ? `${digits}… (${value.length} bytes)` : digits || 'empty';
  }
  return ArrayBuffer.isView(value) ? `${value.byteLength} bytes` : String(value);
}
