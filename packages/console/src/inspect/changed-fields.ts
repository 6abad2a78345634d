/** What differs between two states of a machine, field by field. */
import type { StateChange } from './messages.ts';

const maxText = 80;

/** Any plain value on one line. */
function textOf(value: unknown): string {
  const words =
    value === undefined
      ? 'absent'
      : value instanceof Uint8Array
        ? [...value.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
        : typeof value === 'bigint'
          ? `0x${BigInt.asUintN(64, value).toString(16)}`
          : typeof value === 'object'
            ? JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item))
            : String(value);
  return words.length <= maxText ? words : `${words.slice(0, maxText - 1)}…`;
}

function isNode(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value);
}

function sameBytes(a: unknown, b: unknown): boolean {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.byteLength !== b.byteLength) return false;
  const bytes = (view: ArrayBufferView): Uint8Array =>
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const [was, is] = [bytes(a), bytes(b)];
  return was.every((byte, n) => byte === is[n]);
}

/** Every leaf that differs, as in `devices.pic-8259a.state.irr`. Byte arrays are leaves. */
export function changedFields(before: unknown, after: unknown, path = ''): StateChange[] {
  if (Object.is(before, after) || sameBytes(before, after)) return [];
  if (!isNode(before) || !isNode(after)) return [{ path, before: textOf(before), after: textOf(after) }];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
    changedFields(before[key], after[key], path === '' ? key : `${path}.${key}`),
  );
}
