/**
 * A guest with a screen: it counts each key in its memory, and draws a line of the colour and length of that count. `tell` on its console has
 * it say how often each key was pressed, and how far the pointer was moved. What a checkpoint or log does not hold it does not know after a
 * failover, as any guest.
 */
import type { MachineInput } from '@revenant/emulator';
import { ToyGuest } from '../src/vm/toy-guest.ts';
import type { Guest, GuestStart, Look } from '../src/vm/vm-runtime.ts';

export const drawing = { width: 600, height: 400, line: 4 } as const;
/** Keys that it knows, in order; movements have the place behind. */
const keys = ['KeyA', 'KeyB', 'KeyC', 'KeyD'];

class DrawingGuest extends ToyGuest {
  #shown: readonly number[] = [];

  constructor(start: GuestStart) {
    super({ machine: 'drawing', cpu: 'none', pages: 4, start });
  }

  run(): 'idle' {
    this.step();
    return 'idle';
  }

  protected step(): void {
    this.instructions += 1n;
  }

  protected override hears(input: MachineInput): boolean {
    return input.kind === 'key'
      ? keys.includes(input.code)
      : ['serial', 'mouse', 'tablet'].includes(input.kind);
  }

  protected override did(input: MachineInput): void {
    if (input.kind === 'mouse') this.#add(keys.length, input.dx);
    if (input.kind === 'key' && input.pressed) this.#add(keys.indexOf(input.code), 1);
  }

  #add(n: number, by: number): void {
    this.writeU32(n * 4, this.readU32(n * 4) + by);
  }

  get #counts(): number[] {
    return Array.from({ length: keys.length + 1 }, (_, n) => this.readU32(n * 4));
  }

  protected typed(bytes: Uint8Array): void {
    if (Buffer.from(bytes).toString('latin1').includes('tell'))
      this.say(`counts ${this.#counts.join(' ')}\n`);
  }

  look(fresh: boolean): Look {
    const { width, height, line } = drawing;
    const counts = this.#counts;
    const areas = counts.map((_count, n) => ({ x: 0, y: n * line, width, height: line }));
    const changed = fresh
      ? [{ x: 0, y: 0, width, height }]
      : areas.filter((_, n) => counts[n] !== this.#shown[n]);
    this.#shown = counts;
    const pixels = changed.map((area) => {
      const rgba = new Uint8Array(area.width * area.height * 4);
      for (let at = 0; at < area.width * area.height; at++) {
        const y = area.y + Math.floor(at / width);
        const isSet = at % width < (counts[Math.floor(y / line)] ?? 0);
        rgba.set(isSet ? [255, 200, 0, 255] : [0, 0, y & 255, 255], at * 4);
      }
      return rgba;
    });
    return { width, height, changed, pixels: Uint8Array.from(Buffer.concat(pixels)), tablet: true };
  }
}

export function createGuest(start: GuestStart): Promise<Guest> {
  return Promise.resolve(new DrawingGuest(start));
}
