/** Machine code that is kept for the next process: used when it is whole, ours and of the same module, and no trouble otherwise. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { ModuleWriter } from '../wasm/module.ts';
import * as x from '../wasm/expr.ts';
import { loadCompiled, saveCompiled } from './compiled-code.ts';

/** A module that adds `n` to what it is given. */
function adder(n: number): Uint8Array<ArrayBuffer> {
  const writer = new ModuleWriter();
  const { ref, code } = writer.function({ params: ['i32'], result: 'i32' });
  code.return(x.add(code.param('i32', 0), n));
  code.unreachable();
  writer.export('add', 'function', ref.index);
  return writer.toBytes();
}

function call(module: WebAssembly.Module, value: number): number {
  const { exports } = new WebAssembly.Instance(module);
  return (exports['add'] as (value: number) => number)(value);
}

describe('machine code kept of a module', () => {
  const folder = mkdtempSync(join(tmpdir(), 'revenant-code-'));
  const wasm = adder(7);
  const file = (): string => join(folder, readdirSync(folder)[0] ?? '');

  before(() => {
    // Only optimized code is kept; a small function would never get so far.
    setFlagsFromString('--no-wasm-deopt');
    setFlagsFromString('--no-liftoff');
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  test('is written again by a process that has dropped bytecode meanwhile', () => {
    const script = [
      `const { saveCompiled } = await import(${JSON.stringify(join(import.meta.dirname, 'compiled-code.ts'))});`,
      `const wasm = Uint8Array.from(${JSON.stringify([...wasm])});`,
      `const folder = ${JSON.stringify(folder)};`,
      `const module = new WebAssembly.Module(wasm);`,
      `new WebAssembly.Instance(module).exports.add(1);`,
      `const first = saveCompiled(folder, 'first', wasm, module);`,
      `for (let n = 0; n < 20; n++) gc();`,
      `process.exitCode = first && saveCompiled(folder, 'second', wasm, module) ? 0 : 1;`,
    ].join('\n');
    const flags = ['--expose-gc', '--stress-flush-code', '--no-wasm-deopt', '--no-liftoff'];
    const { status, stderr } = spawnSync(
      process.execPath,
      [...flags, '--input-type=module', '--eval', script],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
  });

  test('is written once, and the module made of it works', () => {
    assert.equal(loadCompiled(folder, 'adder', wasm), undefined);
    const module = new WebAssembly.Module(wasm);
    assert.equal(call(module, 1), 8);
    assert.equal(saveCompiled(folder, 'adder', wasm, module), true);
    assert.equal(saveCompiled(folder, 'adder', wasm, module), false, 'nothing more was compiled');
    const kept = loadCompiled(folder, 'adder', wasm);
    assert.ok(kept !== undefined);
    assert.equal(call(kept, 2), 9);
    assert.equal(loadCompiled(folder, 'adder', adder(8)), undefined, 'another module has none');
    assert.deepEqual(readdirSync(folder).length, 1, 'no temporary file stays');
  });

  test('counts as none when a byte changed, an end is missing, or others may write it', () => {
    const whole = readFileSync(file());
    for (const at of [0, 40, whole.length - 1]) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 1;
      writeFileSync(file(), changed);
      assert.equal(loadCompiled(folder, 'adder', wasm), undefined, `byte ${String(at)}`);
    }
    writeFileSync(file(), whole);
    truncateSync(file(), whole.length - 5);
    assert.equal(loadCompiled(folder, 'adder', wasm), undefined, 'cut');
    truncateSync(file(), 0);
    assert.equal(loadCompiled(folder, 'adder', wasm), undefined, 'empty');
    writeFileSync(file(), whole);
    if (process.platform !== 'win32') {
      chmodSync(file(), 0o622);
      assert.equal(loadCompiled(folder, 'adder', wasm), undefined, 'writable by others');
      chmodSync(file(), 0o600);
    }
    assert.ok(loadCompiled(folder, 'adder', wasm) !== undefined);
  });

  test('has a bound: the oldest files go', () => {
    for (let n = 100; n < 120; n++) {
      const bytes = adder(n);
      const module = new WebAssembly.Module(bytes);
      call(module, 0);
      saveCompiled(folder, 'adder', bytes, module);
    }
    assert.equal(readdirSync(folder).length, 8);
  });

  test('a folder that is not there is no failure', () => {
    const module = new WebAssembly.Module(wasm);
    call(module, 1);
    const missing = join(folder, 'missing');
    assert.equal(saveCompiled(missing, 'adder', wasm, module), false);
    assert.equal(loadCompiled(missing, 'adder', wasm), undefined);
  });
});

test('a process that runs a guest keeps it where Node keeps what it compiles, and the next one says the same', () => {
  const cache = mkdtempSync(join(tmpdir(), 'revenant-code-'));
  const run = (): string => {
    const main = join(import.meta.dirname, '../../../cli/src/main.ts');
    const child = spawnSync(process.execPath, [main, 'run', 'builtin', '--max-instructions', '2000000'], {
      encoding: 'latin1',
      env: { ...process.env, NODE_COMPILE_CACHE: cache },
      input: '',
    });
    assert.equal(child.status, 12, child.stderr);
    return child.stdout;
  };
  const files = (): string[] =>
    readdirSync(cache, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('machine-code'));
  try {
    const first = run();
    assert.equal(files().length, 2, 'core and interpreter');
    assert.equal(run(), first);
    assert.equal(files().length, 2);
  } finally {
    rmSync(cache, { recursive: true });
  }
});
