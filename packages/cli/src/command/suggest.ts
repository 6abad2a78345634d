/** "Did you mean": the name that a mistyped one is nearest to. */

/** Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(
        Math.min(
          (rows[i - 1]?.[j] ?? 0) + 1,
          (row[j - 1] ?? 0) + 1,
          (rows[i - 1]?.[j - 1] ?? 0) + same,
          swapped ? (rows[i - 2]?.[j - 2] ?? 0) + 1 : Infinity,
        ),
      );
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? Infinity;
}

/** The nearest of some names; undefined when none is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  if (word.length < 2 || word.length > 40) return undefined;
  const most = word.length < 5 ? 1 : 2;
  return names
    .map((name) => ({ name, far: name.startsWith(word) ? 1 : distance(word, name) }))
    .filter(({ far }) => far <= most)
    .sort((one, other) => one.far - other.far)[0]?.name;
}
