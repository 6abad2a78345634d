/**
 * String instructions against a model that does one element at a time: overlaps, directions, address sizes, page borders,
 * segment limits, and stops at every count. The seed of a failing case is in the message.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import {
  Cpu,
  ExitReason,
  Flag,
  Segment,
  SegmentField,
  arithmeticFlags,
  segmentBytes,
} from '../cpu/layout.ts';
import { PortInput, TestCpu } from '../cpu/testing/test-cpu.ts';

const area = 0x10_0000;
const areaBytes = 0x4000;
const code = 0x8000;
const gpVector = 13;

/** A generator of small numbers from a seed (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const operations = ['movs', 'stos', 'lods', 'scas', 'cmps', 'ins', 'outs'] as const;
type Operation = (typeof operations)[number];
const opcodes: Record<Operation, number> = {
  movs: 0xa4,
  stos: 0xaa,
  lods: 0xac,
  scas: 0xae,
  cmps: 0xa6,
  ins: 0x6c,
  outs: 0x6e,
};
const port = 0x1f0;

interface Case {
  operation: Operation;
  bits: 16 | 32 | 64;
  size: number;
  prefix: 0 | 0xf2 | 0xf3;
  backward: boolean;
  count: bigint;
  rsi: bigint;
  rdi: bigint;
  rax: bigint;
  /** Limit of ES (32-bit cases), relative to address 0. */
  esLimit: number;
}

interface State {
  memory: Uint8Array;
  rcx: bigint;
  rsi: bigint;
  rdi: bigint;
  rax: bigint;
  /** CF, ZF and so on of the last comparison; undefined when none was made. */
  flags: number | undefined;
  iterations: number;
  faulted: boolean;
  /** What OUTS wrote. */
  written: number[];
}

function readElement(memory: Uint8Array, address: bigint, size: number): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++) value |= BigInt(memory[Number(address) + i - area] ?? 0) << BigInt(i * 8);
  return value;
}

function writeElement(memory: Uint8Array, address: bigint, size: number, value: bigint): void {
  for (let i = 0; i < size; i++)
    memory[Number(address) + i - area] = Number((value >> BigInt(i * 8)) & 0xffn);
}

/** SDM Vol. 1 5.1.2 and appendix A: the flags of a - b. */
function compareFlags(a: bigint, b: bigint, size: number): number {
  const width = size * 8;
  const result = BigInt.asUintN(width, a - b);
  const signed = BigInt.asIntN(width, a) - BigInt.asIntN(width, b);
  let ones = 0;
  for (let i = 0n; i < 8n; i++) ones += Number((result >> i) & 1n);
  return (
    (a < b ? Flag.cf : 0) |
    (ones % 2 === 0 ? Flag.pf : 0) |
    (((a ^ b ^ result) & 16n) !== 0n ? Flag.af : 0) |
    (result === 0n ? Flag.zf : 0) |
    (BigInt.asIntN(width, result) < 0n ? Flag.sf : 0) |
    (signed !== BigInt.asIntN(width, signed) ? Flag.of : 0)
  );
}

/** The manual's pseudo-code, element by element. */
function model(c: Case, memory: Uint8Array, input: PortInput): State {
  const s: State = {
    memory,
    rcx: c.count,
    rsi: c.rsi,
    rdi: c.rdi,
    rax: c.rax,
    flags: undefined,
    iterations: 0,
    faulted: false,
    written: [],
  };
  const mask = c.bits === 64 ? 2n ** 64n - 1n : 2n ** 32n - 1n;
  const step = BigInt(c.backward ? -c.size : c.size);
  const width = c.size * 8;
  const usesEs = c.operation !== 'lods' && c.operation !== 'outs';
  const usesSource = ['movs', 'lods', 'cmps', 'outs'].includes(c.operation);
  for (;;) {
    if (c.prefix !== 0 && s.rcx === 0n) break;
    if (usesEs && c.bits === 32 && Number(s.rdi) + c.size - 1 > c.esLimit) {
      s.faulted = true;
      break;
    }
    if (c.operation === 'movs') writeElement(memory, s.rdi, c.size, readElement(memory, s.rsi, c.size));
    if (c.operation === 'ins') writeElement(memory, s.rdi, c.size, BigInt(input.item(c.size)));
    if (c.operation === 'outs') s.written.push(Number(readElement(memory, s.rsi, c.size)));
    if (c.operation === 'stos') writeElement(memory, s.rdi, c.size, s.rax);
    if (c.operation === 'lods') {
      const value = readElement(memory, s.rsi, c.size);
      s.rax = c.size === 4 ? value : ((s.rax >> BigInt(width)) << BigInt(width)) | value;
      if (c.size === 8) s.rax = value;
    }
    const first = c.operation === 'scas' ? BigInt.asUintN(width, s.rax) : readElement(memory, s.rsi, c.size);
    const second = readElement(memory, s.rdi, c.size);
    const compares = c.operation === 'scas' || c.operation === 'cmps';
    if (compares) s.flags = compareFlags(first, second, c.size);
    if (usesSource) s.rsi = (s.rsi + step) & mask;
    if (usesEs) s.rdi = (s.rdi + step) & mask;
    s.iterations++;
    if (c.prefix === 0) break;
    s.rcx -= 1n;
    if (compares && (first === second) === (c.prefix === 0xf2)) break;
  }
  return s;
}

function makeCase(next: (below: number) => number): Case {
  const bits = [32, 32, 64][next(3)] as 32 | 64;
  const operation = operations[next(operations.length)] ?? 'movs';
  const isWide = bits === 64 && operation !== 'ins' && operation !== 'outs';
  const size = [1, 2, 4, isWide ? 8 : 4][next(4)] ?? 1;
  const near = (): bigint => BigInt(area + 0x1000 + (next(2) === 0 ? next(64) - 32 + 0x1000 : next(0x2000)));
  const rsi = near();
  const rdi = next(2) === 0 ? rsi + BigInt(next(40) - 20) : near();
  const esLimit = bits === 32 && next(4) === 0 ? Number(rdi) + next(300) : 0xffff_ffff;
  return {
    operation,
    bits,
    size,
    prefix: ([0xf3, 0xf3, 0xf2, 0] as const)[next(4)] ?? 0,
    backward: next(3) === 0,
    count: BigInt(next(4) === 0 ? next(4) : next(500)),
    rsi,
    rdi,
    rax: BigInt(next(2) === 0 ? 0x0101_0101 : next(2 ** 31)),
    esLimit,
  };
}

function assemble(c: Case): number[] {
  const bytes: number[] = [];
  if (c.prefix !== 0) bytes.push(c.prefix);
  if (c.size === 2) bytes.push(0x66);
  if (c.size === 8) bytes.push(0x48);
  bytes.push(opcodes[c.operation] + (c.size === 1 ? 0 : 1), 0xf4);
  return bytes;
}

function limitEs(cpu: TestCpu, c: Case): void {
  const es = cpu.cpu + Cpu.segments + Segment.es * segmentBytes;
  cpu.view.setUint32(es + SegmentField.limit, c.esLimit, true);
  cpu.view.setBigInt64(es + SegmentField.readEnd, BigInt(c.esLimit) + 1n, true);
  cpu.view.setBigInt64(es + SegmentField.writeEnd, BigInt(c.esLimit) + 1n, true);
  cpu.engine.core.updateMode(cpu.cpu);
}

for (const kind of ['interpreter', 'translator'] as const)
  describe(`string instructions, ${kind}`, () => {
    let cpu: TestCpu;
    before(async () => {
      cpu = await TestCpu.create({ kind, hotThreshold: 1 });
    });

    function check(seed: number): void {
      const next = generator(seed);
      const c = makeCase(next);
      const message = `seed ${seed}: ${JSON.stringify(c, (_, value: unknown) => (typeof value === 'bigint' ? value.toString(16) : value))}`;
      const memory = Uint8Array.from({ length: areaBytes }, () => (next(3) === 0 ? next(256) : 1));
      cpu.flat(c.bits);
      if (c.bits === 32) limitEs(cpu, c);
      cpu.write(area, memory);
      cpu.write(code, assemble(c));
      cpu.set('rip', code);
      cpu.flags = 2 | (c.backward ? Flag.df : 0);
      for (const [name, value] of [
        ['rcx', c.count],
        ['rsi', c.rsi],
        ['rdi', c.rdi],
        ['rax', c.rax],
      ] as const)
        cpu.set(name, value);
      cpu.view.setInt32(cpu.cpu + Cpu.pendingVector, -1, true);
      cpu.view.setInt32(cpu.cpu + Cpu.halted, 0, true);
      const input = Uint8Array.from({ length: 4 * 500 + 64 }, () => next(256));
      const expected = model(c, memory, new PortInput(input));
      cpu.input = new PortInput(input);
      cpu.output.length = 0;
      cpu.set('rdx', BigInt(port));

      // In pieces: the sum of what was retired is what one run would retire.
      let retired = 0;
      for (let piece = 0; piece < 2000 && cpu.get('rip') === BigInt(code) && cpu.pending < 0; piece++) {
        const budget = 1 + next(next(3) === 0 ? 3 : 200);
        cpu.view.setBigInt64(cpu.cpu + Cpu.deadline, BigInt(budget), true);
        cpu.view.setBigInt64(cpu.cpu + Cpu.remaining, BigInt(budget), true);
        if (expected.faulted && retired + budget > expected.iterations) {
          // An undelivered fault is what is looked at: single iterations up to it, then one step.
          while (retired < expected.iterations) {
            assert.equal(cpu.run(1), ExitReason.deadline, message);
            retired++;
          }
          assert.equal(cpu.step(), 1, message);
          break;
        }
        const reason = cpu.run(budget);
        retired += budget - Number(cpu.remaining);
        if (reason === ExitReason.halt) break;
        assert.equal(reason, ExitReason.deadline, message);
      }
      if (expected.faulted) assert.equal(cpu.pending, gpVector, message);
      else {
        const halted = cpu.view.getInt32(cpu.cpu + Cpu.halted, true);
        if (halted === 0) assert.equal(cpu.get('rip'), BigInt(code + assemble(c).length - 1), message);
        assert.equal(retired - halted, Math.max(1, expected.iterations), message);
      }
      for (const [name, value] of [
        ['rsi', expected.rsi],
        ['rdi', expected.rdi],
        ['rax', expected.rax],
      ] as const)
        assert.equal(cpu.get(name), value, `${name}, ${message}`);
      assert.equal(cpu.get('rcx'), c.prefix === 0 ? c.count : expected.rcx, message);
      if (expected.flags !== undefined) assert.equal(cpu.flags & arithmeticFlags, expected.flags, message);
      assert.deepEqual(cpu.read(area, areaBytes), expected.memory, message);
      assert.deepEqual(
        cpu.output,
        expected.written.map((value) => ({ port, size: c.size, value })),
        message,
      );
    }

    test('do what the pseudo-code does, in any pieces', () => {
      for (let seed = 1; seed <= 1500; seed++) {
        // A page that is written again and again is translated ever later.
        cpu.engine.dropAllCode();
        check(seed);
      }
      const regions = cpu.engine.translator?.statistics.regions ?? 0;
      assert.ok(kind === 'interpreter' || regions > 200, `only ${regions} regions were translated`);
    });
  });
