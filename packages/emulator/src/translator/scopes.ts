/**
 * Turns a control-flow graph into nested WebAssembly scopes. Nodes are in reverse postorder (node 0 is the entry).
 * A backward edge needs a `loop` around header…source; a forward edge needs a `block` that ends before its target.
 * Edges that can't be nested (they enter a loop's middle from outside) are left out: the caller leaves the region there.
 */
export interface Scope {
  kind: 'block' | 'loop';
  /** Opened before node `start`, closed before node `end`. */
  start: number;
  end: number;
  /** Node that a branch to this scope reaches. */
  target: number;
}

export interface Edge {
  from: number;
  to: number;
}

function makeLoops(edges: readonly Edge[]): Scope[] {
  const ends = new Map<number, number>();
  for (const { from, to } of edges) if (to <= from) ends.set(to, Math.max(ends.get(to) ?? 0, from + 1));
  const loops = [...ends]
    .map(([start, end]): Scope => ({ kind: 'loop', start, end, target: start }))
    .sort((a, b) => a.start - b.start);
  // An outer loop that ends inside an inner one is drawn out around it.
  for (let changed = true; changed;) {
    changed = false;
    for (const outer of loops) {
      for (const inner of loops) {
        if (outer.start < inner.start && inner.start < outer.end && outer.end < inner.end) {
          outer.end = inner.end;
          changed = true;
        }
      }
    }
  }
  return loops;
}

function makeBlocks(edges: readonly Edge[], loops: readonly Scope[]): Scope[] {
  const starts = new Map<number, number>();
  for (const { from, to } of edges) {
    if (to <= from) continue;
    const entersMiddle = loops.some((loop) => from < loop.start && loop.start < to && to < loop.end);
    if (!entersMiddle) starts.set(to, Math.min(starts.get(to) ?? from, from));
  }
  const blocks = [...starts].map(([end, start]): Scope => ({ kind: 'block', start, end, target: end }));
  for (let changed = true; changed;) {
    changed = false;
    for (const block of blocks) {
      for (const other of [...loops, ...blocks]) {
        // What began inside of `other` and goes on behind it must begin with it.
        if (
          other !== block &&
          other.start < block.start &&
          block.start < other.end &&
          other.end < block.end
        ) {
          block.start = other.start;
          changed = true;
        }
      }
    }
  }
  return blocks;
}

/** Scopes in the order in which they are opened: by start, outer ones first. */
export function nestScopes(edges: readonly Edge[]): Scope[] {
  const loops = makeLoops(edges);
  const scopes = [...makeBlocks(edges, loops), ...loops];
  return scopes.sort((a, b) => a.start - b.start || b.end - a.end || (a.kind === 'block' ? -1 : 1));
}
