/**
 * Builds core.wasm, interpreter.wasm and fault.wasm into build/emulator/ when their sources changed.
 * Run it directly, or call `buildModules`; both do nothing when everything is up to date.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeFaultModule, makeInterpreterModule } from './cpu/interpreter.ts';
import { generateLayout } from './cpu/layout-generator.ts';
import { Region } from './cpu/layout.ts';
import { instructionTable } from './cpu/table/index.ts';

const sourceFolder = dirname(fileURLToPath(import.meta.url));
/** Where the modules are written. */
export const moduleFolder = join(sourceFolder, '../../../build/emulator');

function hashFolders(...folders: string[]): string {
  const hash = createHash('sha256');
  for (const folder of folders) {
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
      hash.update(file).update(readFileSync(join(folder, file)));
    }
  }
  return hash.digest('hex');
}

/** Several processes may build at once (tests): a file is there whole or not at all. */
function replaceFile(file: string, make: (temporary: string) => void): void {
  const temporary = `${file}.${String(process.pid)}.new`;
  make(temporary);
  renameSync(temporary, file);
}

function writeWhole(file: string, content: string | Uint8Array): void {
  replaceFile(file, (temporary) => {
    writeFileSync(temporary, content);
  });
}

/** Writes `file` only when its text changes, so that a build does not disturb the hash of the sources. */
function writeIfChanged(file: string, text: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  writeWhole(file, text);
}

function upToDate(name: string, hash: string): boolean {
  const stamp = join(moduleFolder, `${name}.hash`);
  return existsSync(join(moduleFolder, name)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash;
}

function stamp(name: string, hash: string): void {
  writeWhole(join(moduleFolder, `${name}.hash`), hash);
}

function compileCore(outFile: string): void {
  const asc = join(
    dirname(createRequire(import.meta.url).resolve('assemblyscript/package.json')),
    'bin/asc.js',
  );
  const result = spawnSync(
    process.execPath,
    [
      asc,
      join(sourceFolder, 'core/index.ts'),
      '--outFile',
      outFile,
      '--runtime',
      'stub',
      '-O3',
      '--noAssert',
      '--importMemory',
      '--sharedMemory',
      '--initialMemory',
      '16',
      '--maximumMemory',
      '65536',
      '--memoryBase',
      String(Region.coreData),
      '--enable',
      'threads,simd,bulk-memory,sign-extension,mutable-globals',
      '--use',
      'abort=',
    ],
    { encoding: 'utf8' },
  );
  if (result.status !== 0) throw new Error(`core.wasm does not compile:\n${result.stdout}${result.stderr}`);
}

/** Brings the modules up to date; `log` gets a line for each one that is made. */
export function buildModules(log: (line: string) => void): void {
  mkdirSync(moduleFolder, { recursive: true });
  writeIfChanged(join(sourceFolder, 'core/generated/layout.ts'), generateLayout());
  const coreHash = hashFolders(join(sourceFolder, 'core'));
  if (!upToDate('core.wasm', coreHash)) {
    log('Building core.wasm …');
    replaceFile(join(moduleFolder, 'core.wasm'), compileCore);
    stamp('core.wasm', coreHash);
  }
  const tableHash = hashFolders(join(sourceFolder, 'cpu'), join(sourceFolder, 'wasm'));
  if (!existsSync(join(moduleFolder, 'fault.wasm')) || !upToDate('interpreter.wasm', tableHash)) {
    log('Building interpreter.wasm …');
    writeWhole(join(moduleFolder, 'fault.wasm'), makeFaultModule());
    writeWhole(join(moduleFolder, 'interpreter.wasm'), makeInterpreterModule(instructionTable));
    stamp('interpreter.wasm', tableHash);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    buildModules((line) => {
      process.stderr.write(`${line}\n`);
    });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
