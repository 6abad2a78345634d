/** Modules that the WebAssembly writer makes do what they say. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { callExpr } from './code.ts';
import { add, i32, i64, load, mul, sub } from './expr.ts';
import { ModuleWriter } from './module.ts';

async function instance(
  writer: ModuleWriter,
  imports: WebAssembly.Imports = {},
): Promise<Record<string, (...args: unknown[]) => unknown>> {
  const { instance } = await WebAssembly.instantiate(writer.toBytes(), imports);
  return instance.exports as Record<string, (...args: unknown[]) => unknown>;
}

test('loops, locals, branches and calls', async () => {
  const writer = new ModuleWriter();
  const { ref, code } = writer.function({ params: ['i64'], result: 'i64' });
  const n = code.param('i64', 0);
  const product = code.variable(i64(1));
  code.block((done) => {
    code.loop((again) => {
      code.brIf(done, {
        type: 'i32',
        emit: (out) => {
          n.emit(out);
          out.u8(0x50);
        },
      });
      code.set(product, mul(product, n));
      code.set(n, sub(n, 1));
      code.br(again);
    });
  });
  code.return(product);
  code.unreachable();
  const twice = writer.function({ params: ['i64'], result: 'i64' });
  twice.code.return(add(callExpr('i64', ref, twice.code.param('i64', 0)), i64(-0x1_2345_6789n)));
  twice.code.unreachable();
  writer.export('factorial', 'function', ref.index);
  writer.export('shifted', 'function', twice.ref.index);
  const { factorial, shifted } = await instance(writer);
  assert.equal(factorial?.(20n), 2432902008176640000n);
  assert.equal(shifted?.(3n), 6n - 0x1_2345_6789n);
});

test('a thrown tag is caught in another function; memory is shared; data is placed', async () => {
  const writer = new ModuleWriter();
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true });
  writer.importSharedMemory('env', 'memory', { initial: 1, maximum: 65536 });
  const tag = writer.tag();
  const thrower = writer.function({ params: [] });
  thrower.code.throw(tag);
  const { ref, code } = writer.function({ params: [], result: 'i32' });
  const result = code.variable(i32(0));
  code.tryCatch(
    tag,
    () => {
      code.call(thrower.ref);
      code.set(result, 1);
    },
    () => {
      code.set(result, load('i32', 2, i32(0x100)));
    },
  );
  code.return(result);
  code.unreachable();
  writer.dataSegment(0x100, new Uint8Array([0x34, 0x12]));
  writer.export('run', 'function', ref.index);
  const { run } = await instance(writer, { env: { memory } });
  assert.equal(run?.(), 0x1234);
});

test('parts of a function share locals by type, and branch tables reach their parts', async () => {
  const writer = new ModuleWriter();
  const { ref, code } = writer.function({ params: ['i32'], result: 'i32' });
  const selector = code.param('i32', 0);
  const used = new Set<number>();
  code.block((none) => {
    code.block((second) => {
      code.block((first) => {
        code.brTable(selector, [first, second], none);
      });
      code.sharingLocals(() => {
        const value = code.variable(i32(10));
        used.add(value.index);
        code.return(value);
      });
    });
    code.sharingLocals(() => {
      const value = code.variable(i32(20));
      used.add(value.index);
      code.return(value);
    });
  });
  code.return(i32(30));
  code.unreachable();
  writer.export('pick', 'function', ref.index);
  const { pick } = await instance(writer);
  assert.deepEqual([pick?.(0), pick?.(1), pick?.(2), pick?.(-1)], [10, 20, 30, 30]);
  assert.equal(used.size, 1);
});
