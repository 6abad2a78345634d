/** What translated floating-point code keeps from one instruction to the next. Against the interpreter at random: test/lockstep. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Cpu, ExitReason } from '../cpu/layout.ts';
import { TestCpu } from '../cpu/testing/test-cpu.ts';

const code = 0x10_0000;
const data = 0x20_0000;
const invalid = 1;
const divideByZero = 4;
const precision = 0x20;

let cpu: TestCpu;

/** Runs `body` (64-bit code) `turns` times in a loop counted by ECX; RSI points to `data`. Returns the exit reason. */
function loop(body: readonly number[], turns: number, instructions: number): number {
  const bytes = [...body, 0xff, 0xc9];
  bytes.push(0x0f, 0x85, ...new Uint8Array(new Int32Array([-(bytes.length + 6)]).buffer), 0xeb, 0xfe);
  cpu.write(code, bytes);
  cpu.set('rip', code);
  cpu.set('rsi', data);
  cpu.set('rcx', turns);
  return cpu.run(turns * (instructions + 2) + 10);
}

const mxcsr = (): number => cpu.view.getUint32(cpu.cpu + Cpu.mxcsr, true);
const setMxcsr = (value: number): void => {
  cpu.view.setUint32(cpu.cpu + Cpu.mxcsr, value, true);
};
const lane = (register: number, index = 0): number =>
  cpu.view.getFloat64(cpu.cpu + Cpu.xmm + register * 16 + index * 8, true);
const setLane = (register: number, value: number, index = 0): void => {
  cpu.view.setFloat64(cpu.cpu + Cpu.xmm + register * 16 + index * 8, value, true);
};
const setDoubles = (...values: number[]): void => {
  cpu.write(data, new Uint8Array(new Float64Array(values).buffer));
};

describe('translated floating point', () => {
  beforeEach(async () => {
    cpu = await TestCpu.create({ kind: 'translator', hotThreshold: 2, ramBytes: 4 * 2 ** 20 });
    cpu.flat(64);
    cpu.flags = 2;
  });

  test('a sum of thirds sets the precision flag and keeps the upper lane', () => {
    setMxcsr(0x1f80);
    setDoubles(1 / 3);
    setLane(0, 0);
    setLane(0, 7, 1);
    loop([0xf2, 0x0f, 0x58, 0x06], 1000, 1); // addsd xmm0,[rsi]
    let sum = 0;
    for (let i = 0; i < 1000; i++) sum += 1 / 3;
    assert.equal(lane(0), sum);
    assert.equal(lane(0, 1), 7);
    assert.equal(mxcsr(), 0x1f80 | precision);
    assert.ok((cpu.engine.translator?.statistics.regions ?? 0) > 0);
  });

  test('an exact sum sets no flag, an invalid one the flag of its own', () => {
    setMxcsr(0x1f80);
    setDoubles(0.25);
    setLane(0, 0);
    loop([0xf2, 0x0f, 0x58, 0x06], 1000, 1);
    assert.equal(mxcsr(), 0x1f80);
    setDoubles(-Infinity);
    setLane(0, Infinity);
    loop([0xf2, 0x0f, 0x58, 0x06], 1, 1);
    assert.ok(Number.isNaN(lane(0)));
    assert.equal(mxcsr(), 0x1f80 | invalid);
  });

  test('LDMXCSR inside of the loop unmasks: the exception comes at its instruction', () => {
    // ldmxcsr [rsi+16]; divsd xmm0,[rsi]
    const body = [0x0f, 0xae, 0x56, 0x10, 0xf2, 0x0f, 0x5e, 0x06];
    setDoubles(2, 0, 0);
    cpu.view.setUint32(cpu.map.backingBase + data + 16, 0x1f80 & ~0x200, true);
    setLane(0, 1024);
    setMxcsr(0x1f80);
    loop(body, 10, 2);
    assert.equal(cpu.pending, -1);
    assert.equal(lane(0), 1);
    // There is no interrupt table, so #XM can't be delivered and shuts the processor down.
    setDoubles(0, 0, 0);
    cpu.view.setUint32(cpu.map.backingBase + data + 16, 0x1f80 & ~0x200, true);
    assert.equal(loop(body, 10, 2), ExitReason.shutdown);
    assert.equal(lane(0), 1);
    assert.equal(mxcsr() & 0x3f, divideByZero);
    assert.equal(cpu.get('rcx'), 10n);
  });

  test('the x87 stack turns with loads and pops, and C1 and PE are sticky as they should be', () => {
    cpu.view.setUint32(cpu.cpu + Cpu.fcw, 0x37f, true);
    cpu.view.setUint32(cpu.cpu + Cpu.fsw, 0, true);
    cpu.view.setBigUint64(cpu.cpu + Cpu.ftags, 0x0101_0101_0101_0101n, true);
    setDoubles(0, 0.1);
    // fld qword [rsi]; fadd qword [rsi+8]; fstp qword [rsi]
    loop([0xdd, 0x06, 0xdc, 0x46, 0x08, 0xdd, 0x1e], 100, 3);
    let sum = 0;
    for (let i = 0; i < 100; i++) sum += 0.1;
    const got = new DataView(cpu.read(data, 8).buffer).getFloat64(0, true);
    assert.ok(Math.abs(got - sum) < 1e-12);
    assert.equal(cpu.view.getUint32(cpu.cpu + Cpu.fsw, true) & 0x3800, 0);
    assert.equal(cpu.view.getUint32(cpu.cpu + Cpu.fsw, true) & 0x3f, precision);
    assert.equal(cpu.view.getBigUint64(cpu.cpu + Cpu.ftags, true), 0x0101_0101_0101_0101n);
  });
});
