/** Which parts of a picture somebody has not seen: tiles, so that any number of changes takes no more room than the picture's size asks for. */
import { overlap, type Area } from './rfb.ts';

const tile = 32;

export class TileMap {
  readonly #width: number;
  readonly #height: number;
  readonly #columns: number;
  readonly #rows: number;
  readonly #dirty: Uint8Array;

  constructor(width: number, height: number) {
    this.#width = width;
    this.#height = height;
    this.#columns = Math.ceil(width / tile);
    this.#rows = Math.ceil(height / tile);
    this.#dirty = new Uint8Array(this.#columns * this.#rows);
  }

  get isEmpty(): boolean {
    return !this.#dirty.includes(1);
  }

  markAll(): void {
    this.#dirty.fill(1);
  }

  mark(area: Area): void {
    for (const n of this.#tilesOf(area)) this.#dirty[n] = 1;
  }

  /** The marked parts of an area, as rectangles of whole rows of tiles where they can be, which are unmarked by it. */
  take(area: Area): Area[] {
    const found: Area[] = [];
    let open: { row: number; area: Area } | undefined;
    for (const n of this.#tilesOf(area)) {
      if (this.#dirty[n] !== 1) continue;
      this.#dirty[n] = 0;
      const [row, column] = [Math.floor(n / this.#columns), n % this.#columns];
      const one = overlap(
        { x: column * tile, y: row * tile, width: tile, height: tile },
        { x: 0, y: 0, width: this.#width, height: this.#height },
      );
      if (one === undefined) continue;
      if (open?.row === row && open.area.x + open.area.width === one.x) open.area.width += one.width;
      else found.push((open = { row, area: one }).area);
    }
    return stacked(found);
  }

  *#tilesOf(area: Area): Generator<number> {
    const inside = overlap(area, { x: 0, y: 0, width: this.#width, height: this.#height });
    if (inside === undefined) return;
    const last = { x: inside.x + inside.width - 1, y: inside.y + inside.height - 1 };
    for (let row = Math.floor(inside.y / tile); row <= Math.floor(last.y / tile); row++)
      for (let column = Math.floor(inside.x / tile); column <= Math.floor(last.x / tile); column++)
        yield row * this.#columns + column;
  }
}

/** Joins rectangles that lie below each other. */
function stacked(areas: readonly Area[]): Area[] {
  const found: Area[] = [];
  for (const area of areas) {
    const above = found.find(
      (one) => one.x === area.x && one.width === area.width && one.y + one.height === area.y,
    );
    if (above === undefined) found.push({ ...area });
    else above.height += area.height;
  }
  return found;
}
