/** What changed between two checkpoints: pages by content, state field by field. */
import type { CheckpointReader } from '../checkpoint/reader.ts';
import { asBuffer, isRecord } from '../codec.ts';

/** Consecutive changed pages. */
export interface PageRange {
  first: number;
  count: number;
}

export interface SpaceDiff {
  name: string;
  pageSize: number;
  /** Pages whose contents differ (those beyond the end of the smaller one included). */
  changedPages: number;
  ranges: PageRange[];
}

/** One field that differs; undefined: not there. */
export interface FieldDiff {
  /** As in `devices.pic-8259a.state.irr` or `cpus.0.rip`. */
  path: string;
  before: unknown;
  after: unknown;
}

export interface CheckpointDiff {
  instructions: bigint;
  virtualTimeNs: bigint;
  spaces: SpaceDiff[];
  fields: FieldDiff[];
}

/** What changed from `a` to `b`. Reads manifests and heads of packs, no pages. Ranges and fields are complete. */
export async function diffCheckpoints(a: CheckpointReader, b: CheckpointReader): Promise<CheckpointDiff> {
  const names = [...new Set([...a.spaces, ...b.spaces].map(({ name }) => name))];
  const spaces: SpaceDiff[] = [];
  for (const name of names) spaces.push(await diffSpace(a, b, name));
  const fields: FieldDiff[] = [];
  const part = ({ state }: CheckpointReader): unknown => {
    const { description, cpus, devices } = state;
    return { description, cpus, devices };
  };
  diffFields('', part(a), part(b), fields);
  return {
    instructions: b.head.instructions - a.head.instructions,
    virtualTimeNs: b.head.virtualTimeNs - a.head.virtualTimeNs,
    spaces,
    fields,
  };
}

async function diffSpace(a: CheckpointReader, b: CheckpointReader, name: string): Promise<SpaceDiff> {
  const [before, after] = [a, b].map((reader) =>
    reader.spaces.some((space) => space.name === name) ? reader.source(name) : undefined,
  );
  const shape = (after ?? before)!.map.space;
  const count = Math.max(before?.map.space.pageCount ?? 0, after?.map.space.pageCount ?? 0);
  const ranges: PageRange[] = [];
  let changedPages = 0;
  for (let page = 0; page < count; page++) {
    const [was, is] = [await before?.hashOf(page), await after?.hashOf(page)];
    if (sameHash(was, is)) continue;
    changedPages++;
    const last = ranges.at(-1);
    if (last !== undefined && last.first + last.count === page) last.count++;
    else ranges.push({ first: page, count: 1 });
  }
  return { name, pageSize: shape.pageSize, changedPages, ranges };
}

function sameHash(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return asBuffer(a).equals(b);
}

/** Appends every leaf that differs. Byte arrays are leaves. */
export function diffFields(path: string, before: unknown, after: unknown, found: FieldDiff[]): void {
  if (same(before, after)) return;
  const nested = (isRecord(before) && isRecord(after)) || (Array.isArray(before) && Array.isArray(after));
  if (!nested) {
    found.push({ path, before, after });
    return;
  }
  const was = before as Record<string, unknown>;
  const is = after as Record<string, unknown>;
  for (const key of new Set([...Object.keys(was), ...Object.keys(is)]))
    diffFields(path === '' ? key : `${path}.${key}`, was[key], is[key], found);
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.constructor !== b.constructor) return false;
  const bytes = (view: ArrayBufferView): Buffer => Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return bytes(a).equals(bytes(b));
}
