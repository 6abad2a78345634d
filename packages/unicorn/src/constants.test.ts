/** The constants are those of Debian's libunicorn-dev, where that is installed; REVENANT_GOLDEN=write makes the files anew from it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as unicorn from './generated/unicorn.ts';
import * as x86 from './generated/x86.ts';
import { uc } from './index.ts';

const folder = '/usr/include/unicorn';
const skip = existsSync(folder) ? false : 'needs libunicorn-dev';
/** What only the C interface has. */
const left = /_API_|_VERSION_|UC_CTL|UC_TCG/;

/** An enumerator's expression: sums and shifts of numbers and of names before it. */
function evaluate(expression: string, known: ReadonlyMap<string, number>): number | undefined {
  let sum = 0;
  for (const term of expression.replace(/[()]/g, ' ').split('+')) {
    const factors = term.split('<<').map((each) => {
      const word = each.trim();
      return /^(0x[0-9a-f]+|\d+)$/i.test(word) ? Number(word) : known.get(word);
    });
    if (factors.includes(undefined)) return undefined;
    sum += factors.slice(1).reduce<number>((value, by) => value * 2 ** (by as number), factors[0] as number);
  }
  return sum;
}

/** Names and values of a header's enumerations and plain macros. */
function constantsOf(name: string): Map<string, number> {
  const text = readFileSync(join(folder, `${name}.h`), 'utf8')
    .replace(/\/\/[^\n]*|\/\*[^]*?\*\//g, '')
    .replaceAll('\\\n', ' ');
  const found = new Map<string, number>();
  for (const match of text.matchAll(/typedef enum \w+ \{([^}]*)\}|#define (UC_\w+)[ \t]+([^\n]+)/g)) {
    const [, body, macro, expression = ''] = match;
    if (macro !== undefined) {
      const value = evaluate(expression, found);
      if (value !== undefined) found.set(macro, value);
      continue;
    }
    let next = 0;
    for (const item of (body ?? '').split(',')) {
      const [key = '', given] = item.split('=').map((each) => each.trim());
      if (key === '') continue;
      const value: number = given === undefined ? next : (evaluate(given, found) ?? Number.NaN);
      found.set(key, value);
      next = value + 1;
    }
  }
  return new Map([...found].filter(([key]) => !left.test(key)));
}

for (const [name, ours] of [
  ['unicorn', unicorn],
  ['x86', x86],
] as const)
  test(`the constants of ${name}.h`, { skip }, () => {
    const theirs = constantsOf(name);
    assert.ok(theirs.size > 100);
    if (process.env['REVENANT_GOLDEN'] === 'write') {
      const head = `/** Generated from the numbers of Unicorn 2.0.1 (${name}.h) by constants.test.ts with REVENANT_GOLDEN=write. Do not edit. */\n\n`;
      const lines = [...theirs].map(([key, value]) => `export const ${key} = ${String(value)};\n`);
      writeFileSync(join(import.meta.dirname, `generated/${name}.ts`), head + lines.join(''));
      return;
    }
    assert.deepEqual({ ...ours }, Object.fromEntries(theirs));
  });

test('uc has the names of unicorn.js', () => {
  assert.equal(uc.ARCH_X86, unicorn.UC_ARCH_X86);
  assert.equal(uc.X86_REG_EAX, x86.UC_X86_REG_EAX);
  assert.equal(uc.HOOK_MEM_INVALID, unicorn.UC_HOOK_MEM_INVALID);
  assert.equal(uc.arch_supported(uc.ARCH_X86), true);
  assert.equal(uc.arch_supported(uc.ARCH_ARM), false);
  assert.match(uc.strerror(uc.ERR_READ_UNMAPPED), /UC_ERR_READ_UNMAPPED/);
  assert.equal(uc.version(), 0x200);
});
