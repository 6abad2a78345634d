/**
 * What a library exports says what it is: each name of each entry point that people install has a docstring. The compiler's own view is looked at, so a
 * name counts where it is declared, whatever index exports it.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Those whose entry points are documented whole. */
const packages = ['emulator'];

function entriesOf(name: string): string[] {
  const folder = join(root, 'packages', name);
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    exports: Record<string, string>;
  };
  return Object.values(exports)
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join(folder, path));
}

/** `file: name` of each export of the entry points without a docstring. */
function undocumented(entries: readonly string[]): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram(entries, options);
  const checker = program.getTypeChecker();
  const missing = new Set<string>();
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!);
    assert.ok(module !== undefined, `${entry} exports nothing`);
    for (const exported of checker.getExportsOfModule(module)) {
      const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0;
      const symbol = isAlias ? checker.getAliasedSymbol(exported) : exported;
      if (symbol.getDocumentationComment(checker).length > 0) continue;
      const file = symbol.declarations?.[0]?.getSourceFile().fileName ?? entry;
      missing.add(`${relative(root, file)}: ${symbol.name}`);
    }
  }
  return [...missing].sort();
}

for (const name of packages)
  test(`each export of @revenant/${name} has a docstring`, () => {
    const entries = entriesOf(name);
    assert.ok(entries.length > 0);
    assert.deepEqual(undocumented(entries), []);
  });

test('one that has none is found', () => {
  const missing = undocumented([join(root, 'packages/unicorn/src/index.ts')]);
  assert.ok(
    missing.includes('packages/unicorn/src/index.ts: arch_supported'),
    missing.slice(0, 5).join(', '),
  );
});
