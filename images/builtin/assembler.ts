/** Just enough of an assembler for the built-in guest: bytes, labels, relative jumps and absolute 32-bit addresses. */
export class Assembler {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: { at: number; label: string; kind: 'relative8' | 'relative32' | 'absolute32' }[] = [];
  readonly #base: number;

  /** `base`: address at which the bytes are loaded. */
  constructor(base: number) {
    this.#base = base;
  }

  label(name: string): void {
    if (this.#labels.has(name)) throw new Error(`label ${name} is there twice`);
    this.#labels.set(name, this.#bytes.length);
  }

  /** Instruction bytes; the comment beside each call is the instruction. */
  emit(...bytes: number[]): void {
    this.#bytes.push(...bytes);
  }

  u32(value: number): void {
    this.emit(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff);
  }

  u64(value: bigint): void {
    this.u32(Number(value & 0xffff_ffffn));
    this.u32(Number(value >> 32n));
  }

  text(text: string): void {
    this.emit(...new TextEncoder().encode(text));
  }

  align(unit: number): void {
    while (this.#bytes.length % unit !== 0) this.emit(0);
  }

  /** `opcode` followed by the distance to a label, in one byte or four. */
  jump(opcode: readonly number[], label: string, size: 8 | 32 = 8): void {
    this.emit(...opcode);
    this.#fixups.push({ at: this.#bytes.length, label, kind: size === 8 ? 'relative8' : 'relative32' });
    this.emit(...new Array<number>(size / 8).fill(0));
  }

  /** The absolute address of a label. */
  address(label: string): void {
    this.#fixups.push({ at: this.#bytes.length, label, kind: 'absolute32' });
    this.u32(0);
  }

  finish(): Uint8Array {
    const out = Uint8Array.from(this.#bytes);
    const view = new DataView(out.buffer);
    for (const { at, label, kind } of this.#fixups) {
      const target = this.#labels.get(label);
      if (target === undefined) throw new Error(`no label ${label}`);
      if (kind === 'absolute32') view.setUint32(at, this.#base + target, true);
      else if (kind === 'relative32') view.setInt32(at, target - (at + 4), true);
      else {
        const distance = target - (at + 1);
        if (distance < -128 || distance > 127) throw new Error(`label ${label} is too far for a short jump`);
        view.setInt8(at, distance);
      }
    }
    return out;
  }
}
