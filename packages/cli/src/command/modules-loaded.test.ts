/** What a command loads: its own file and what that needs, not the files of the others. A command line that loads everything starts slowly. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
/** Runs before the program, and tells in the last line of stderr how many modules were loaded. */
const counter = `
import { registerHooks } from 'node:module';
let count = 0;
registerHooks({ load: (url, context, next) => (count++, next(url, context)) });
process.on('exit', () => process.stderr.write('\\n' + count));`;

async function modulesOf(...words: string[]): Promise<number> {
  const program = spawn(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(counter)}`, main, ...words],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let errors = '';
  program.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  await once(program, 'close');
  return Number(errors.split('\n').at(-1));
}

/** How many each may load: what it loaded when this was written, and a third more. */
const bounds: [words: string, most: number][] = [
  ['--help', 42],
  ['vm --help', 42],
  ['nonsense', 42],
  ['images list --help', 195],
  ['vm list --help', 280],
  ['vm list --node 127.0.0.1:1', 290],
  ['checkpoint list --help', 190],
  ['run --help', 620],
];

for (const [words, most] of bounds)
  test(`\`revenant ${words}\` loads at most ${most} modules`, async () => {
    const count = await modulesOf(...words.split(' '));
    assert.ok(count > 10 && count <= most, `${count} modules`);
  });
