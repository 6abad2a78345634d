/** Puts figures into docs/BENCHMARKS.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Replaces what stands between the two marks `<!-- MARK: begin -->` and `<!-- MARK: end -->`. */
export function writeDocs(mark: string, text: string): void {
  const path = join(import.meta.dirname, '../../docs/BENCHMARKS.md');
  const [first, last] = [`<!-- ${mark}: begin -->`, `<!-- ${mark}: end -->`];
  const old = readFileSync(path, 'utf8');
  const start = old.indexOf(first);
  const end = old.indexOf(last);
  if (start < 0 || end < start) throw new Error(`${path} lacks the lines ${first} and ${last}`);
  writeFileSync(path, `${old.slice(0, start + first.length)}\n\n${text}\n${old.slice(end)}`);
}
