/** The codec of inputs and outputs: every kind, stored forms, sizes. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { decodeInputs, decodeLog, decodeOutputs, encodeInputs, encodeLog, encodeOutputs } from './codec.ts';
import { EdgeError } from './fields.ts';
import { inputKinds, outputKinds, type LoggedInput, type MachineInput, type StampedOutput } from './table.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const frame = Uint8Array.from({ length: 60 }, (_, n) => n);

/** One input of each kind, with values at the ends of their ranges. */
const inputs: MachineInput[] = [
  { kind: 'serial', port: 3, bytes: bytes(0, 255, 13) },
  { kind: 'key', code: 'ControlLeft', pressed: true },
  { kind: 'mouse', dx: -32768, dy: 32767, dz: -1, buttons: 7 },
  { kind: 'tablet', x: 0, y: 32767, dz: -1, buttons: 7 },
  { kind: 'frame', nic: 1, bytes: frame },
  { kind: 'medium', drive: 'cd0', image: 'Grüße.iso' },
  { kind: 'medium', drive: 'cd0', image: null },
  { kind: 'powerButton' },
  { kind: 'reset' },
  { kind: 'nmi' },
  { kind: 'skip', toNs: -(2n ** 63n) },
  { kind: 'rate', rate: 0xffff_ffff },
  { kind: 'wallClock', epochNs: 2n ** 63n - 1n },
  { kind: 'generation', generation: 2n ** 64n - 1n },
  { kind: 'entropy', bytes: bytes(1) },
  { kind: 'flush' },
  { kind: 'mark' },
  { kind: 'console', port: 1, bytes: bytes(10, 0) },
  { kind: 'balloon', pages: 2 ** 20 },
  { kind: 'pokeMemory', address: 2 ** 53 - 1, bytes: bytes(0xcc) },
  { kind: 'pokeRegister', register: 'rip', value: bytes(0, 124, 0, 0, 0, 0, 0, 0) },
];

const log: LoggedInput[] = inputs.map((input, n) => ({
  instructions: 2n ** 40n * BigInt(n),
  timeNs: BigInt(n) ** 3n * 1_000_000_007n,
  number: n * 17_204,
  input,
}));

const outputs: StampedOutput[] = [
  {
    instructions: 7n,
    timeNs: 9n,
    number: 17_204,
    output: { kind: 'serial', port: 0, bytes: bytes(104, 105) },
  },
  { instructions: 8n, timeNs: 9n, number: 17_206, output: { kind: 'serial', port: 0, bytes: bytes(10) } },
  { instructions: 8n, timeNs: 9n, number: 88, output: { kind: 'frame', nic: 0, bytes: frame } },
  { instructions: 9n, timeNs: 1n, number: 0, output: { kind: 'debug', port: 0xe9, bytes: bytes(1) } },
  { instructions: 9n, timeNs: 1n, number: 0, output: { kind: 'console', port: 0, bytes: bytes(1) } },
  { instructions: 9n, timeNs: 1n, number: 0, output: { kind: 'panic', event: 'panicked' } },
  { instructions: 9n, timeNs: 1n, number: 0, output: { kind: 'power', what: 'exit', status: 0xffff_ffff } },
];

const invalid = (error: unknown): boolean => error instanceof EdgeError;

describe('the codec of the edge', () => {
  test('brings every kind back as it was', () => {
    assert.deepEqual(new Set(inputs.map(({ kind }) => kind)), new Set(Object.keys(inputKinds)));
    assert.deepEqual(new Set(outputs.map(({ output }) => output.kind)), new Set(Object.keys(outputKinds)));
    assert.deepEqual(decodeInputs(encodeInputs(inputs)), inputs);
    assert.deepEqual(decodeLog(encodeLog(log)), log);
    assert.deepEqual(decodeOutputs(encodeOutputs(outputs)), outputs);
  });

  test('writes the form that is stored already', () => {
    assert.equal(
      Buffer.from(encodeInputs(inputs.slice(0, 3))).toString('hex'),
      '010101030300ff0d020b436f6e74726f6c4c6566740103ffff03feff030107',
    );
    assert.equal(
      Buffer.from(encodeOutputs(outputs.slice(0, 2))).toString('hex'),
      '0103010e12e88c0200026869010200000001' + '0a',
    );
  });

  test('no two kinds of a direction have one code, and none is used again', () => {
    for (const table of [inputKinds, outputKinds]) {
      const codes = Object.values(table).map(({ code }) => code);
      assert.equal(new Set(codes).size, codes.length);
    }
  });

  test('is compact: a byte typed at a console is a few bytes of log', () => {
    const entry = (n: number): LoggedInput => ({
      instructions: 1_000_000_000n + BigInt(n) * 40_000n,
      timeNs: 4_000_000_000n + BigInt(n) * 160_000n,
      number: 17_204 + n,
      input: { kind: 'serial', port: 0, bytes: bytes(0x61) },
    });
    const length = (entries: number): number =>
      encodeLog(Array.from({ length: entries }, (_, n) => entry(n))).length;
    assert.ok((length(100) - length(1)) / 99 <= 11);
  });

  test('refuses what is cut off, made by a newer version, something else, or out of range', () => {
    const good = encodeLog(log);
    // The first entry alone is a message of its own; so every prefix either holds fewer entries or is refused.
    for (let length = 0; length < good.length; length++)
      try {
        assert.ok(decodeLog(good.subarray(0, length)).length < log.length);
      } catch (error) {
        assert.ok(invalid(error), String(error));
      }
    assert.throws(() => decodeLog(Uint8Array.of(9, 2)), { code: 'EDGE_MESSAGE_VERSION' });
    assert.throws(() => decodeInputs(good), { code: 'EDGE_MESSAGE_INVALID' });
    assert.throws(() => decodeInputs(Uint8Array.of(1, 1, 99)), /kind 99 is not known/);
    assert.throws(() => decodeInputs(Uint8Array.of(1, 1, 1, 4, 1, 65)), /port/);
    assert.throws(() => decodeInputs(Uint8Array.of(1, 1, 10, 0)), /rate/);
  });

  test('random changes to a message are read or refused, never anything else', () => {
    const good = encodeLog(log);
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let round = 0; round < 3000; round++) {
      const damaged = good.slice();
      for (let n = 0; n <= random(3); n++) damaged[random(damaged.length)] = random(256);
      try {
        decodeLog(damaged);
      } catch (error) {
        assert.ok(invalid(error), String(error));
      }
    }
  });
});
