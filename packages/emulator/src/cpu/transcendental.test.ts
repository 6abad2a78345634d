/**
 * The transcendental instructions of the x87, compared with sums of their series in 300-bit integers: rounded correctly, in each direction and for
 * arguments of all magnitudes; and the coefficients that they use.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { TestCpu } from './testing/test-cpu.ts';

const code = 0x10_0000;
const data = 0x10_1000;
const machine = await TestCpu.create();

/** An 80-bit number: (-1)^sign * significand * 2^(exponent - 63). */
interface Extended {
  sign: boolean;
  exponent: number;
  significand: bigint;
}
const bias = 16383;

/** Numbers of the oracle: integers in units of 2^-unit. */
const unit = 300n;
const one = 1n << unit;

function toFixed({ sign, exponent, significand }: Extended): bigint {
  const shift = unit + BigInt(exponent - 63);
  const value = shift < 0n ? significand >> -shift : significand << shift;
  return sign ? -value : value;
}

/** Rounding control of FCW: to nearest, down, up, towards zero. */
const roundings = [0, 1, 2, 3] as const;
type Rounding = (typeof roundings)[number];

/** Of a number that is never exact, nor half way between two. */
function round(value: bigint, rounding: Rounding): Extended {
  const sign = value < 0n;
  const magnitude = sign ? -value : value;
  const bits = magnitude.toString(2).length;
  const shift = BigInt(bits - 64);
  let significand = magnitude >> shift;
  const isUp = rounding === 0 ? ((magnitude >> (shift - 1n)) & 1n) === 1n : rounding === (sign ? 1 : 2);
  let exponent = bits - 1 - Number(unit);
  if (isUp) significand++;
  if (significand === 1n << 64n) {
    significand >>= 1n;
    exponent++;
  }
  return { sign, exponent, significand };
}

const multiply = (a: bigint, b: bigint): bigint => (a * b) >> unit;

/** first + first * y / divisor(1) + first * y^2 / (divisor(1) * divisor(2)) + … */
function series(first: bigint, y: bigint, divisor: (n: bigint) => bigint): bigint {
  let sum = 0n;
  let term = first;
  for (let n = 1n; term !== 0n && term !== -1n; n++) {
    sum += term;
    term = multiply(term, y) / divisor(n);
  }
  return sum;
}

function logarithmOf2(): bigint {
  // 2 atanh(1/3)
  let sum = 0n;
  for (let n = 1n, power = one / 3n; power !== 0n; n += 2n, power /= 9n) sum += power / n;
  return 2n * sum;
}

function arctangent(z: bigint): bigint {
  const square = multiply(z, z);
  let sum = 0n;
  for (let n = 1n, power = z; power !== 0n && power !== -1n; n += 2n, power = -multiply(power, square))
    sum += power / n;
  return sum;
}

// prettier-ignore
const functions: readonly (readonly [string, readonly number[], (x: bigint) => bigint])[] = [
  ['FSIN', [0xd9, 0xfe], (x) => series(x, -multiply(x, x), (n) => 2n * n * (2n * n + 1n))],
  ['FCOS', [0xd9, 0xff], (x) => series(one, -multiply(x, x), (n) => 2n * n * (2n * n - 1n))],
  ['F2XM1', [0xd9, 0xf0], (x) => {
    const scaled = multiply(x, logarithmOf2());
    return series(scaled, scaled, (n) => n + 1n);
  }],
  ['FPATAN', [0xd9, 0xe8, 0xd9, 0xf3], arctangent],
];

function execute(operation: readonly number[], x: Extended, rounding: Rounding): Extended {
  const view = new DataView(new ArrayBuffer(48));
  view.setBigUint64(0, x.significand, true);
  view.setUint16(8, (x.sign ? 0x8000 : 0) | (x.exponent + bias), true);
  view.setUint16(32, 0x37f | (rounding << 10), true);
  machine.write(data, new Uint8Array(view.buffer));
  // fninit; fldcw [esi + 32]; fld tbyte [esi]; …; fstp tbyte [esi + 16]; jmp $
  const bytes = [0xdb, 0xe3, 0xd9, 0x6e, 32, 0xdb, 0x2e, ...operation, 0xdb, 0x7e, 16, 0xeb, 0xfe];
  machine.write(code, bytes);
  machine.set('rip', code);
  machine.set('rsi', data);
  machine.run(4 + operation.length / 2);
  const result = new DataView(machine.read(data + 16, 10).buffer);
  const signExponent = result.getUint16(8, true);
  return {
    sign: signExponent >= 0x8000,
    exponent: (signExponent & 0x7fff) - bias,
    significand: result.getBigUint64(0, true),
  };
}

describe('transcendental instructions round correctly', () => {
  machine.flat(32);
  for (const [name, operation, compute] of functions)
    test(name, () => {
      let state = 0x9e37_79b9_7f4a_7c15n;
      const random = (): bigint => {
        state ^= BigInt.asUintN(64, state << 13n);
        state ^= state >> 7n;
        state ^= BigInt.asUintN(64, state << 17n);
        return state;
      };
      for (let n = 0; n < 400; n++) {
        const exponent = -1 - (n % 80);
        // Below sine's 0.78 and the first of FPATAN's tables' sums.
        const significand = (1n << 63n) | (random() >> (exponent === -1 ? 3n : 1n));
        const x: Extended = { sign: (random() & 1n) === 1n, exponent, significand };
        for (const rounding of roundings) {
          const expected = round(compute(toFixed(x)), rounding);
          const found = execute(operation, x, rounding);
          assert.deepEqual(
            found,
            expected,
            `2^${exponent} * ${significand.toString(16)}, rounding ${rounding}`,
          );
        }
      }
    });
});

test('coefficients are the inverses of factorials and of odd numbers, rounded', () => {
  const source = readFileSync(join(import.meta.dirname, '../core/softfloat/softfloat-series.ts'), 'utf8');
  const table = (name: string): bigint[] => {
    const [, body = ''] =
      new RegExp(`const ${name} = memory\\.data<u64>\\(\\[([^\\]]*)\\]`).exec(source) ?? [];
    const words = Array.from(body.matchAll(/0x([0-9a-f_]+)/g), ([, digits = '']) =>
      BigInt(`0x${digits.replaceAll('_', '')}`),
    );
    return words.flatMap((word, i) => (i % 2 === 0 ? [(word << 64n) | (words[i + 1] ?? 0n)] : []));
  };
  const inverse = (n: bigint): bigint => ((1n << 128n) + n / 2n) / n;
  const factorials: bigint[] = [];
  for (let n = 2n, product = 2n; n <= 35n; n++, product *= n) factorials.push(inverse(product));
  assert.deepEqual(table('inverseFactorials'), factorials);
  const odds = Array.from({ length: 27 }, (_, k) => inverse(BigInt(2 * k + 3)));
  assert.deepEqual(table('inverseOdds'), odds);
});
