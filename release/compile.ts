/** Turns the sources of all packages into JavaScript, declarations and source maps: one program, one pass. */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import ts from 'typescript';

/** Sources that aren't part of a package: tests, what they share, and the core, which is compiled to WebAssembly by another compiler. */
const notShipped = /\.test\.ts$|\.bench\.ts$|\/testing(\/|\.ts$)|^packages\/emulator\/src\/core(-tests)?\//;

/** Extensions in addresses of workers and programs, which the compiler does not know to be imports; of the same length, so that the source maps stay right. */
const address = /(new URL\('\.[^']*\.)ts(', import\.meta\.url\))/g;

export class CompileError extends Error {}

export interface CompiledFile {
  /** Path below the root of the repository, with the new extension. */
  path: string;
  text: string;
}

function sourcesOf(root: string, folder: string): string[] {
  return readdirSync(join(root, folder, 'src'), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/src/${name.split(sep).join('/')}`)
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !notShipped.test(path));
}

function compilerOptions(root: string): ts.CompilerOptions {
  const file = join(root, 'tsconfig.json');
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(file, (path) => readFileSync(path, 'utf8')).config,
    ts.sys,
    root,
  );
  return {
    ...options,
    noEmit: false,
    // The library runs on Node 22 too, which does not know `using` yet.
    target: ts.ScriptTarget.ES2022,
    rewriteRelativeImportExtensions: true,
    declaration: true,
    sourceMap: true,
    inlineSources: true,
    stripInternal: true,
    rootDir: root,
    outDir: join(root, '.out'),
  };
}

/**
 * @param root of the repository
 * @param folders of the packages, below it
 * @throws CompileError when the sources don't compile, or ship what only tests need
 */
export function compilePackages(root: string, folders: readonly string[]): CompiledFile[] {
  const options = compilerOptions(root);
  const program = ts.createProgram(
    folders.flatMap((folder) => sourcesOf(root, folder)).map((path) => join(root, path)),
    options,
  );
  const files: CompiledFile[] = [];
  const { diagnostics } = program.emit(undefined, (path, text) => {
    const below = relative(options.outDir ?? root, path)
      .split(sep)
      .join('/');
    files.push({ path: below, text: below.endsWith('.js') ? text.replace(address, '$1js$2') : text });
  });
  const errors = [...ts.getPreEmitDiagnostics(program), ...diagnostics];
  if (errors.length > 0)
    throw new CompileError(
      ts.formatDiagnostics(errors, {
        getCurrentDirectory: () => root,
        getCanonicalFileName: (name) => name,
        getNewLine: () => '\n',
      }),
    );
  const forTests = program
    .getSourceFiles()
    .map(({ fileName }) => relative(root, fileName).split(sep).join('/'))
    .filter((path) => path.startsWith('packages/') && notShipped.test(path));
  if (forTests.length > 0)
    throw new CompileError(`shipped sources import what is for tests: ${forTests.join(', ')}`);
  return files;
}
