/**
 * A random source for devices: the ChaCha20 block function (RFC 8439, 2.3) with fast key erasure. What it gives follows from the seed of
 * the machine's description and from the bytes that the host stirred in, which are logged inputs; so a replay draws the same numbers, two
 * machines resumed from one checkpoint draw different ones once each was given bytes of its own, and no state tells what was drawn before it.
 */
import { StatefulDevice } from '../device.ts';
import { bytes, defineState, record, type Infer } from '../schema.ts';

const keyBytes = 32;
const blockBytes = 64;
/** 2.3: "expand 32-byte k". */
const constants = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574] as const;

const schema = record({ key: bytes(keyBytes) });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'random-source', version: 1, schema });

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/** 2.1 */
function quarterRound(state: Uint32Array, [a, b, c, d]: readonly [number, number, number, number]): void {
  const mix = (to: number, from: number, into: number, by: number): void => {
    state[to] = state[to]! + state[from]!;
    state[into] = rotate(state[into]! ^ state[to], by);
  };
  mix(a, b, d, 16);
  mix(c, d, b, 12);
  mix(a, b, d, 8);
  mix(c, d, b, 7);
}

// prettier-ignore
const columnsAndDiagonals = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
  [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
] as const;

/** 2.3: one block of the key stream, as bytes. */
export function chachaBlock(key: Uint8Array, counter: number, nonce: readonly number[]): Uint8Array {
  const view = new DataView(key.buffer, key.byteOffset, keyBytes);
  const words = Array.from({ length: 8 }, (_, n) => view.getUint32(n * 4, true));
  const initial = Uint32Array.from([...constants, ...words, counter, ...nonce]);
  const state = initial.slice();
  for (let round = 0; round < 10; round++) for (const four of columnsAndDiagonals) quarterRound(state, four);
  const out = new DataView(new ArrayBuffer(blockBytes));
  state.forEach((word, n) => {
    out.setUint32(n * 4, word + initial[n]!, true);
  });
  return new Uint8Array(out.buffer);
}

const noNonce = [0, 0, 0] as const;

export class RandomSource extends StatefulDevice<State> {
  readonly name = 'random-source';

  /** @param seed 64 bits, of the machine's description */
  constructor({ seed }: { seed: bigint }) {
    super(definition, () => {
      const key = new Uint8Array(keyBytes);
      new DataView(key.buffer).setBigUint64(0, BigInt.asUintN(64, seed), true);
      return { key: chachaBlock(key, 0, noNonce).subarray(0, keyBytes) };
    });
  }

  /** A reset of the machine must not bring the same numbers again. */
  override reset(): void {}

  /** Stirs in bytes of the host: an input of the machine. */
  stir(entropy: Uint8Array): void {
    for (let from = 0; from < entropy.length; from += keyBytes) {
      const mixed = this.state.key.map((byte, n) => byte ^ (entropy[from + n] ?? 0));
      this.state.key = chachaBlock(mixed, entropy.length - from, noNonce).subarray(0, keyBytes);
    }
  }

  /** So many random bytes; the key that gave them is forgotten. */
  draw(length: number): Uint8Array {
    const out = new Uint8Array(length);
    const { key } = this.state;
    const first = chachaBlock(key, 0, noNonce);
    this.state.key = first.subarray(0, keyBytes);
    out.set(first.subarray(keyBytes, keyBytes + length));
    for (let from = keyBytes, counter = 1; from < length; from += blockBytes, counter++)
      out.set(chachaBlock(key, counter, noNonce).subarray(0, length - from), from);
    return out;
  }
}
