/**
 * Keeps the machine code that V8's optimizing compiler made of our WebAssembly modules for the next process, beside what Node keeps of
 * JavaScript (NODE_COMPILE_CACHE): each process compiles the run loop and the core otherwise. V8 reaches
 * that by two functions of its own, which the flag `--allow-natives-syntax` shows; where a version has none, nothing is kept.
 *
 * Always: a file is one module's, whole, and written by this user; anything else counts as no file. Deleting files costs time only.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { threadId } from 'node:worker_threads';

const digestBytes = 32;
const suffix = '.machine-code';
/** Files of earlier builds stay for those who go back to them; so many at most. */
const filesKept = 8;
/** A file is written again when so much more has been compiled. */
const worthwhileGrowth = 1.05;

interface Natives {
  serialize: (module: WebAssembly.Module) => ArrayBuffer;
  deserialize: (code: ArrayBuffer, wasm: Uint8Array) => WebAssembly.Module | undefined;
}

/**
 * Lets `use` call V8's functions; undefined where V8 has none. They are made anew each time, and the flag is on until `use` has called them: V8
 * drops the bytecode of a function that is not called for a while, and then parses it again.
 */
function withNatives<T>(use: (natives: Natives) => T): T | undefined {
  setFlagsFromString('--allow-natives-syntax');
  try {
    const make = (...parts: string[]): unknown => new Function(...parts) as unknown;
    return use({
      serialize: make('module', 'return %SerializeWasmModule(module)') as Natives['serialize'],
      deserialize: make(
        'code',
        'wasm',
        'return %DeserializeWasmModule(code, wasm)',
      ) as Natives['deserialize'],
    });
  } catch {
    // Another thread may have switched the flag off, which belongs to the process.
    return undefined;
  } finally {
    setFlagsFromString('--no-allow-natives-syntax');
  }
}

const sha256 = (...parts: Uint8Array[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

function pathOf(folder: string, name: string, wasm: Uint8Array): string {
  return join(folder, `${name}-${sha256(wasm).toString('hex', 0, 8)}${suffix}`);
}

/** The file's content when nobody else could have written it; machine code is executed as it is. */
function readOwn(path: string): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const { mode, uid } = fstatSync(file);
    const isOurs = process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
    return isOurs ? readFileSync(file) : undefined;
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

/** A copy with a buffer of its own. */
function alone(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** The module with the machine code that an earlier process kept of it; undefined when there is none that this V8 takes. */
export function loadCompiled(folder: string, name: string, wasm: Uint8Array): WebAssembly.Module | undefined {
  const kept = readOwn(pathOf(folder, name, wasm));
  if (kept === undefined || kept.length <= digestBytes) return undefined;
  const code = kept.subarray(digestBytes);
  if (!sha256(wasm, code).equals(kept.subarray(0, digestBytes))) return undefined;
  // V8 compares its version, its flags and the processor's features with those that the code was made for.
  return withNatives(({ deserialize }) => deserialize(alone(code).buffer, alone(wasm)));
}

/**
 * Keeps the machine code of the module's functions that have been called. At least one must have been: V8 ends the process otherwise.
 * What can't be written is not kept.
 * @returns whether it was written; not when a file holds about as much
 */
export function saveCompiled(
  folder: string,
  name: string,
  wasm: Uint8Array,
  module: WebAssembly.Module,
): boolean {
  const serialized = withNatives(({ serialize }) => serialize(module));
  if (serialized === undefined) return false;
  const path = pathOf(folder, name, wasm);
  const code = new Uint8Array(serialized);
  if (code.length < sizeOf(path) * worthwhileGrowth) return false;
  const temporary = `${path}.${String(process.pid)}.${String(threadId)}.new`;
  try {
    writeFileSync(temporary, Buffer.concat([sha256(wasm, code), code]), { mode: 0o600 });
    renameSync(temporary, path);
    dropOldest(folder);
    return true;
  } catch {
    rmSync(temporary, { force: true });
    return false;
  }
}

/** Of a file that can be used; else 0. */
function sizeOf(path: string): number {
  return Math.max(0, (readOwn(path)?.length ?? 0) - digestBytes);
}

function dropOldest(folder: string): void {
  const files = readdirSync(folder)
    .filter((file) => file.includes(suffix))
    .map((file) => join(folder, file))
    .map((path) => ({ path, ms: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.ms - a.ms);
  for (const { path } of files.slice(filesKept)) rmSync(path, { force: true });
}
