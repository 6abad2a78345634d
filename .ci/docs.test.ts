/**
 * Docs that are true: every path that they name is there, every link leads somewhere, and every command that they show is one that the
 * command line, npm or Node would take.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Region } from '../packages/emulator/src/cpu/layout.ts';
import { Input } from '../packages/cli/src/command/command.ts';
import { find } from '../packages/cli/src/command/dispatch.ts';
import { parseWords } from '../packages/cli/src/command/parse.ts';
import { commands } from '../packages/cli/src/commands/index.ts';
import { exitCodeMeanings } from '../packages/cli/src/errors.ts';
import { optionalDevices } from '../packages/emulator/src/machine/description.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const documents = globSync(['README.md', 'docs/**/*.md', 'packages/*/README.md', 'images/**/*.md'], {
  cwd: root,
});
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};
const tests = globSync('{.ci,test,packages,images}/**/*.test.ts', {
  cwd: root,
  exclude: ['**/node_modules/**'],
});

/** Below which folders a path may be meant: a page about the emulator needs not say `packages/emulator/src/` each time. */
const bases = [
  '.',
  'packages',
  'docs',
  ...globSync('packages/*/src', { cwd: root }),
  ...globSync(['packages/*', 'packages/*/src/*'], { cwd: root }),
];

interface Named {
  document: string;
  line: number;
  text: string;
}

/** Code in a document: the lines of code blocks, and what stands between backticks. */
function codeOf(document: string): { blocks: Named[]; spans: Named[] } {
  const blocks: Named[] = [];
  const spans: Named[] = [];
  let fence = false;
  for (const [n, text] of readFileSync(join(root, document), 'utf8').split('\n').entries()) {
    const at = { document, line: n + 1 };
    if (/^\s*```/.test(text)) fence = !fence;
    else if (fence) blocks.push({ ...at, text });
    else for (const [, span = ''] of text.matchAll(/`([^`]+)`/g)) spans.push({ ...at, text: span });
  }
  return { blocks, spans };
}

const code = documents.map((document) => codeOf(document));
const blocks = code.flatMap(({ blocks }) => blocks);
const spans = code.flatMap(({ spans }) => spans);
const where = ({ document, line, text }: Named): string => `${document}:${line}: ${text}`;

/** Objects of a store have names like paths. */
const objectPattern = /^(?:vms|bases|cluster|store)\//;

/** `a/b.ts` or `a/b/`; with a star it stands for several. Paths of objects in a store and of a guest's or host's system are none of ours. */
const pathPattern =
  /^(?:\.\/)?(?:[\w@*.-]+\/)+[\w*.-]*\.(?:ts|tsx|mjs|cjs|js|json|md|c|s|svg)$|^(?:[\w@-]+\/)+$/;

function isThere(named: string, document: string): boolean {
  // NAME stands for any.
  const path = named.replaceAll(/\b[A-Z]{2,}(?=[./])(?!\.md)/g, '*');
  return [dirname(document), ...bases].some((base) => {
    const full = join(root, base, path);
    return path.includes('*') ? globSync(full).length > 0 : existsSync(full);
  });
}

test('each path that a document names is there', () => {
  const named = spans.filter(
    ({ text, document }) => pathPattern.test(text) && (!objectPattern.test(text) || isThere(text, document)),
  );
  assert.ok(named.length > 50, 'paths are found at all');
  assert.deepEqual(named.filter(({ text, document }) => !isThere(text, document)).map(where), []);
});

/** Words of all that is ours: a name that a document puts between backticks is one of them, or is another's. */
function wordsOfSources(): { words: Set<string>; files: Set<string> } {
  const files = globSync(
    ['{packages,test,release,images,.ci,findings}/**/*.*', 'images/**/*', '{.*,*}.{mjs,cjs,js,json,jsonc}'],
    { cwd: root, exclude: (path) => /node_modules|generated|\.md$|\.(png|bin|gz|msgpack)$/.test(path) },
  ).filter((path) => statSync(join(root, path)).isFile());
  const words = new Set<string>();
  for (const file of files)
    for (const [word] of readFileSync(join(root, file), 'utf8').matchAll(/[A-Za-z_](?:[\w-]*\w)?/g)) {
      words.add(word);
      for (const part of word.split('-')) words.add(part);
    }
  return { words, files: new Set(files.map((file) => basename(file))) };
}

/** Names that documents use and no source: instructions, options and functions of other programs. */
const foreign = new Set([
  ...[
    'br_table',
    'br_if',
    'gs_base',
    'fstrim',
    'CONFIG_VMGENID',
    'virtio_input',
    'DEFLATE_ON_OOM',
    'mem_map_ptr',
    'uc_ctl',
    'UC_HOOK_EDGE_GENERATED',
  ],
  ...['test-name-pattern', 'wasm-tiering-budget', 'snapshot-blob'],
  // The version of an object; the rest of UC_HOOK_.
  ...['v000003', 'SLOT', 'NONCE', 'BLOCK', 'MEM_READ', 'READ_AFTER', 'FETCH', 'INSN', 'INSN_INVALID'],
]);

test('each name of a file, an option, a variable or of something in the sources is there', () => {
  const { words, files } = wordsOfSources();
  const isKnown = (name: string): boolean => words.has(name) || foreign.has(name);
  const isFile = /^[\w.-]+\.(?:tsx?|mjs|cjs|js|json|md|c|s|svg)$/;
  const isName = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?(?:\(.*\))?$/;
  const named = spans.filter(({ document }) => !document.includes('decisions/'));
  let found = 0;
  const unknown = [...named, ...blocks].filter(({ text }) => {
    const names = [...text.matchAll(/(?:^|\s)--([a-z][a-z-]+)/g), ...text.matchAll(/\b(REVENANT_[A-Z_]+)/g)];
    const wanted = names.map(([, name = '']) => name);
    if (isName.test(text) && !isFile.test(text)) wanted.push(...text.replace(/\(.*/, '').split('.'));
    found += wanted.length;
    const isMissing = isFile.test(text) && !/^(?:NAME|x)\./.test(text) && !isThereByName(text, files);
    return isMissing || !wanted.every(isKnown);
  });
  assert.ok(found > 500, `names are found at all: ${String(found)}`);
  assert.deepEqual(unknown.map(where), []);
});

/** Files that the build makes, by names that their users know. */
const built = new Set(['revenant.js']);

const isThereByName = (name: string, files: Set<string>): boolean =>
  files.has(name) || built.has(name) || documents.some((document) => basename(document) === name);

test('the README lists each exit code', () => {
  const text = /^Exit codes: ([\s\S]*?)\n\n/m.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1] ?? '';
  const listed = [...text.matchAll(/(?:^|,\s)(\d+) /g)].map(([, code]) => Number(code));
  assert.deepEqual(
    listed,
    exitCodeMeanings.map(([code]) => code),
  );
});

test('the list of devices has each that a description may add, and no other', () => {
  const rows = readFileSync(join(root, 'docs/DEVICES.md'), 'utf8').matchAll(/^\| `([a-z-]+)` \|/gm);
  assert.deepEqual([...rows].map(([, name]) => name).sort(), [...optionalDevices].sort());
});

test('the map of memory says where the regions are', () => {
  const map = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8').matchAll(/^0x([0-9a-f_]+) {2}/gm);
  const addresses = [...map].map(([, digits = '']) => Number.parseInt(digits.replaceAll('_', ''), 16));
  assert.ok(addresses.length > 5, 'the map is found at all');
  const regions = new Set<number>(Object.values(Region));
  assert.deepEqual(
    addresses.filter((address) => !regions.has(address)),
    [],
  );
});

test('each test that the list of mended faults names is there', () => {
  const rows = readFileSync(join(root, 'docs/HARDENING.md'), 'utf8').matchAll(/`([\w/.-]+)`: "([^"]+)"/g);
  const named = [...rows].map(([, path = '', name = '']) => ({ path, name }));
  assert.ok(named.length > 30, 'tests are found at all');
  const missing = named.filter(({ path, name }) => !readFileSync(join(root, path), 'utf8').includes(name));
  assert.deepEqual(missing, []);
});

test('each decision has a number of its own, in the name of its file and before its title', () => {
  const files = globSync('docs/decisions/*.md', { cwd: root });
  const numbers = files.map((file) => /(\d{4})-[a-z0-9-]+\.md$/.exec(file)?.[1] ?? file);
  assert.ok(numbers.length > 20, 'decisions are found at all');
  assert.deepEqual(
    numbers.filter((number, n) => numbers.indexOf(number) !== n),
    [],
  );
  const untold = files.filter(
    (file, n) => !new RegExp(`^# 0*${Number(numbers[n])}[.:] `).test(readFileSync(join(root, file), 'utf8')),
  );
  assert.deepEqual(untold, []);
});

test('each link of a document leads to a file', () => {
  const missing: string[] = [];
  for (const document of documents)
    for (const [, target = ''] of readFileSync(join(root, document), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)) {
      const [path = ''] = target.split('#');
      if (path === '' || /^[a-z]+:/.test(path)) continue;
      if (!existsSync(join(root, dirname(document), path))) missing.push(`${document}: ${target}`);
    }
  assert.deepEqual(missing, []);
});

/** Words as a shell splits them; what is behind a comment, a pipe or a redirection is left out. */
function shellWords(line: string): string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)) {
    if (/^(#|&|;|\||>|<|2>)/.test(word)) break;
    words.push(
      word.replaceAll(
        /"([^"]*)"|'([^']*)'/g,
        (_, double?: string, single?: string) => double ?? single ?? '',
      ),
    );
  }
  return words;
}

/** Lines that begin with a program, after `$ ` or assignments. */
function invocations(program: RegExp): (Named & { words: string[] })[] {
  return [...blocks, ...spans]
    .map((named) => {
      const [, rest] =
        new RegExp(`(?:^|[|;&(] *|^\\$ |^[A-Z_]+=\\S+ )(?:${program.source})(?= |$)(.*)`).exec(
          named.text.trim(),
        ) ?? [];
      return { ...named, words: shellWords(rest ?? ''), found: rest !== undefined };
    })
    .filter(({ found }) => found);
}

/** What a checkpoint begins with, and no command. */
const magic = 'revenant checkpoint v1';

test('each `revenant …` that a document shows is a command line that is taken', async () => {
  const wrong: string[] = [];
  const shown = invocations(/npx revenant|revenant/).filter(
    ({ text }) => !/…| COMMAND\b/.test(text) && text !== magic,
  );
  assert.ok(shown.length > 40, `commands are found at all: ${shown.length}`);
  for (const { words, ...named } of shown) {
    try {
      const found = await find(commands, words);
      if ('group' in found) continue;
      const input = parseWords(found.path, found.command, found.rest);
      assert.ok(input === 'help' || input instanceof Input);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      // In a sentence a command or an option may be meant by its name alone.
      const isNamed =
        spans.some(({ text }) => text === named.text) && / (is missing|needs [A-Z|a-z:,[\]-]+)$/.test(reason);
      if (!isNamed) wrong.push(`${where(named)}: ${reason}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('each `npm …` is a script of ours, or npm itself', () => {
  const wrong = invocations(/npm/).filter(({ words: [verb = '', name = '', ...rest] }) => {
    if (verb === 'run') return !(name in scripts);
    if (verb !== 'test') return !['', 'start', 'install', 'ci', 'pack'].includes(verb);
    const word = rest.find((each) => !each.startsWith('-'));
    return name === '--' && word !== undefined && !tests.some((file) => file.includes(word));
  });
  assert.deepEqual(wrong.map(where), []);
});

test('each `node FILE` names a file that is there', () => {
  const wrong = invocations(/[A-Z_]*(?:node)/).filter(({ words, document }) => {
    const file = words.find((word) => /\.(?:ts|mjs|js)$/.test(word));
    return file !== undefined && !isThere(file, document);
  });
  assert.deepEqual(wrong.map(where), []);
});
