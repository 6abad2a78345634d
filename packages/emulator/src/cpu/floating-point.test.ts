/**
 * Floating point from the manual's text and from the host's own IEEE 754 doubles. Bit by bit against the processor:
 * test/native/fuzz.ts.
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { Cpu } from './layout.ts';
import { TestCpu } from './testing/test-cpu.ts';

const code = 0x10_0000;
const data = 0x10_1000;
/** jmp $ */
const end = [0xeb, 0xfe];

const machine = await TestCpu.create();

/** Runs `count` instructions of 32-bit code; ESI points to `data`. */
function run(bytes: readonly number[], count: number): void {
  machine.write(code, [...bytes, ...end]);
  machine.set('rip', code);
  machine.set('rsi', data);
  machine.run(count);
}

function setDoubles(...values: number[]): void {
  machine.write(data, new Uint8Array(new Float64Array(values).buffer));
}

const getDouble = (offset: number): number =>
  new DataView(machine.read(data + offset, 8).buffer).getFloat64(0, true);
const setField = (offset: number, value: number): void =>
  machine.view.setUint32(machine.cpu + offset, value, true);
const getField = (offset: number): number => machine.view.getUint32(machine.cpu + offset, true);

/** Mulberry32: doubles of all magnitudes, with zeros, small integers and denormals among them. */
function randomDoubles(seed: number): () => number {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  return () => {
    const kind = next() % 8;
    if (kind === 0) return (next() % 16) - 8;
    if (kind === 1) return Number.MIN_VALUE * next();
    const sign = next() & 1 ? -1 : 1;
    const range = kind < 5 ? 20 : 1070;
    return sign * (1 + next() / 2 ** 32) * 2 ** ((next() % (2 * range)) - range);
  };
}

const operations: readonly (readonly [string, number, (a: number, c: number) => number])[] = [
  ['add', 0x58, (a, c) => a + c],
  ['multiply', 0x59, (a, c) => a * c],
  ['subtract', 0x5c, (a, c) => a - c],
  ['divide', 0x5e, (a, c) => a / c],
  ['square root', 0x51, (_a, c) => Math.sqrt(c)],
];

describe('SSE2', () => {
  test('scalar and packed arithmetic are those of IEEE 754, with the same flags by the shortcut and by the exact path', () => {
    machine.flat(32);
    const random = randomDoubles(1);
    for (let i = 0; i < 400; i++) {
      const a = random();
      const c = random();
      for (const [name, opcode, compute] of operations) {
        setDoubles(a, c, c, a);
        const flags = [0x1f80, 0x1fa0].map((mxcsr) => {
          setField(Cpu.mxcsr, mxcsr);
          // movsd xmm0,[esi]; op xmm0,[esi+8]; movsd [esi+32],xmm0
          run([0xf2, 0x0f, 0x10, 0x06, 0xf2, 0x0f, opcode, 0x46, 8, 0xf2, 0x0f, 0x11, 0x46, 32], 3);
          assert.deepEqual(getDouble(32), compute(a, c), `${name} ${a} ${c}`);
          // movups xmm0,[esi]; op xmm0,[esi+16]; movups [esi+48],xmm0
          run([0x0f, 0x10, 0x06, 0x66, 0x0f, opcode, 0x46, 16, 0x0f, 0x11, 0x46, 48], 3);
          assert.deepEqual(
            [getDouble(48), getDouble(56)],
            [compute(a, c), compute(c, a)],
            `packed ${name} ${a} ${c}`,
          );
          return getField(Cpu.mxcsr) | 0x20;
        });
        assert.equal(flags[0], flags[1], `flags of ${name} ${a} ${c}`);
      }
    }
  });

  test('an unmasked division by zero raises #XM and leaves the destination', () => {
    machine.flat(32);
    setDoubles(1, 0);
    setField(Cpu.mxcsr, 0x1d80);
    machine.write(code, [0xf2, 0x0f, 0x10, 0x06, 0xf2, 0x0f, 0x5e, 0x46, 8]);
    machine.set('rip', code);
    machine.set('rsi', data);
    assert.equal(machine.step(), 0);
    assert.equal(machine.step(), 1);
    assert.equal(machine.pending, 19);
    assert.equal(machine.get('rip'), BigInt(code + 4));
    assert.equal(getField(Cpu.mxcsr), 0x1d84);
    assert.equal(machine.view.getFloat64(machine.cpu + Cpu.xmm, true), 1);
    machine.view.setInt32(machine.cpu + Cpu.pendingVector, -1, true);
  });
});

describe('x87', () => {
  test('with 53-bit precision, arithmetic on doubles of moderate size is that of IEEE 754', () => {
    machine.flat(32);
    const random = randomDoubles(2);
    for (let i = 0; i < 400; i++) {
      const a = random() % 2 ** 100;
      const c = random() % 2 ** 100;
      if (Math.abs(a) < 2 ** -100 || Math.abs(c) < 2 ** -100) continue;
      for (const [modrm, compute] of [
        [0x46, a + c],
        [0x4e, a * c],
        [0x66, a - c],
        [0x76, a / c],
      ] as const) {
        setDoubles(a, c);
        machine.write(data + 16, [0x7f, 0x02]);
        // fninit; fldcw [esi+16]; fld qword [esi]; op qword [esi+8]; fstp qword [esi+32]
        run([0xdb, 0xe3, 0xd9, 0x6e, 16, 0xdd, 0x06, 0xdc, modrm, 8, 0xdd, 0x5e, 32], 5);
        assert.equal(getDouble(32), compute, `${a} ${c} ${modrm}`);
      }
    }
  });

  test('FSIN of FLDPI shows the 66-bit pi of the processors', () => {
    machine.flat(32);
    // fninit; fldpi; fsin; fstp tbyte [esi]
    run([0xdb, 0xe3, 0xd9, 0xeb, 0xd9, 0xfe, 0xdb, 0x3e], 4);
    // -2^-64
    assert.deepEqual([...machine.read(data, 10)], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xbf, 0xbf]);
    assert.equal(getField(Cpu.fsw), 0x20);
  });

  test('4 * FPATAN(1, 1) is pi, and FYL2X, F2XM1 are inverse', () => {
    machine.flat(32);
    // fninit; fld1; fld1; fpatan; fadd st,st; fadd st,st; fstp tbyte [esi]
    run([0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xf3, 0xd8, 0xc0, 0xd8, 0xc0, 0xdb, 0x3e], 7);
    assert.deepEqual([...machine.read(data, 10)], [0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0, 0x40]);
    setDoubles(0.3);
    // fninit; fld1; fld qword [esi]; f2xm1; fadd st,st1; fyl2x; fstp qword [esi+8]
    run([0xdb, 0xe3, 0xd9, 0xe8, 0xdd, 0x06, 0xd9, 0xf0, 0xd8, 0xc1, 0xd9, 0xf1, 0xdd, 0x5e, 8], 7);
    assert.equal(getDouble(8), 0.3);
  });

  test('an unmasked exception is reported by the next waiting instruction only', () => {
    machine.flat(32);
    machine.write(data, [0x7b, 0x03]);
    // fninit; fldcw [esi] (divide by zero unmasked); fld1; fldz; fdivp st1,st; fnstsw ax; wait
    machine.write(code, [0xdb, 0xe3, 0xd9, 0x2e, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0xdf, 0xe0, 0x9b]);
    machine.set('rip', code);
    machine.set('rsi', data);
    for (let i = 0; i < 6; i++) assert.equal(machine.step(), 0, `instruction ${i}`);
    // B, TOP 6, ES, ZE: nothing was popped.
    assert.equal(machine.get('rax') & 0xffffn, 0xb084n);
    assert.equal(machine.step(), 1);
    assert.equal(machine.pending, 16);
    machine.view.setInt32(machine.cpu + Cpu.pendingVector, -1, true);
  });

  test('FXSAVE and FXRSTOR keep the stack, its tags and the XMM registers', () => {
    machine.flat(32);
    setField(Cpu.mxcsr, 0x1f80);
    machine.write(
      data + 0x200,
      Array.from({ length: 16 }, (_, i) => i + 1),
    );
    // fninit; fldpi; fld1; movups xmm3,[esi+0x200]; fxsave [esi]; fninit; xorps xmm3,xmm3; fxrstor [esi]; fstp tbyte [esi+0x300]
    run(
      [
        0xdb, 0xe3, 0xd9, 0xeb, 0xd9, 0xe8, 0x0f, 0x10, 0x9e, 0, 2, 0, 0, 0x0f, 0xae, 0x06, 0xdb, 0xe3, 0x0f,
        0x57, 0xdb, 0x0f, 0xae, 0x0e, 0xdb, 0xbe, 0, 3, 0, 0,
      ],
      9,
    );
    assert.deepEqual([...machine.read(data + 0x300, 10)], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    assert.equal(getField(Cpu.fsw) & 0x3800, 0x3800);
    assert.deepEqual([...machine.read(data + 4, 1)], [0xc0]);
    const xmm3 = new Uint8Array(machine.view.buffer, machine.cpu + Cpu.xmm + 48, 16);
    assert.deepEqual(
      [...xmm3],
      Array.from({ length: 16 }, (_, i) => i + 1),
    );
  });

  test('XSAVE writes what EDX:EAX and XCR0 ask for, XRSTOR of an absent component initializes it', () => {
    machine.flat(32);
    machine.view.setBigInt64(machine.cpu + Cpu.cr4, 0x4_0600n, true);
    machine.view.setBigInt64(machine.cpu + Cpu.xcr0, 3n, true);
    machine.write(data, new Uint8Array(576));
    machine.write(
      data + 0x400,
      Array.from({ length: 16 }, (_, i) => i + 1),
    );
    machine.set('rax', 3);
    machine.set('rdx', 0);
    // fninit; fldpi; movups xmm0,[esi+0x400]; xsave [esi]
    run([0xdb, 0xe3, 0xd9, 0xeb, 0x0f, 0x10, 0x86, 0, 4, 0, 0, 0x0f, 0xae, 0x26], 4);
    assert.deepEqual([...machine.read(data + 512, 8)], [3, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(
      [...machine.read(data + 160, 16)],
      Array.from({ length: 16 }, (_, i) => i + 1),
    );
    // XSTATE_BV says that there is only x87 state: XMM0 becomes 0.
    machine.write(data + 512, [1]);
    // fninit; xrstor [esi]; fstp tbyte [esi+0x400]
    run([0xdb, 0xe3, 0x0f, 0xae, 0x2e, 0xdb, 0xbe, 0, 4, 0, 0], 3);
    assert.deepEqual(
      [...machine.read(data + 0x400, 10)],
      [0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0, 0x40],
    );
    assert.equal(machine.view.getBigUint64(machine.cpu + Cpu.xmm, true), 0n);
  });

  test('XSAVE, XSAVEOPT and XSAVEC save upper halves where they are in use, XRSTOR brings them back', () => {
    const image = 832;
    const upper = machine.cpu + Cpu.ymmHigh;
    const saved = (save: readonly number[], value: bigint): DataView => {
      machine.flat(64);
      machine.view.setBigInt64(machine.cpu + Cpu.cr4, 0x4_0620n, true);
      machine.view.setBigInt64(machine.cpu + Cpu.xcr0, 7n, true);
      machine.write(data, new Uint8Array(image).fill(0xee, 576));
      machine.view.setBigUint64(upper + 16, value, true);
      machine.set('rax', 4);
      machine.set('rdx', 0);
      run([...save, 0xc5, 0xfc, 0x77, 0x0f, 0xae, 0x2e], 3); // vzeroall; xrstor [rsi]
      return new DataView(machine.read(data, image).buffer);
    };
    const xsave = [0x0f, 0xae, 0x26];
    const xsaveopt = [0x0f, 0xae, 0x36];
    const xsavec = [0x0f, 0xc7, 0x26];
    for (const save of [xsave, xsaveopt, xsavec]) {
      const view = saved(save, 0x1234n);
      assert.equal(view.getBigUint64(512, true), 4n);
      assert.equal(view.getBigUint64(592, true), 0x1234n);
      assert.equal(view.getBigUint64(520, true), save === xsavec ? (1n << 63n) | 4n : 0n);
      assert.equal(machine.view.getBigUint64(upper + 16, true), 0x1234n);
      const unused = saved(save, 0n);
      assert.equal(unused.getBigUint64(512, true), 0n);
      assert.equal(unused.getUint8(600), save === xsave ? 0 : 0xee);
    }
  });
});
