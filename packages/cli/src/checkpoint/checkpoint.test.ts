/**
 * The `checkpoint` commands on checkpoints of a real guest, as files and in a store: what they print, as text and as JSON, and that they
 * agree.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = join(import.meta.dirname, '../main.ts');
let folder: string;
let file: string;
let later: string;

interface Result {
  code: number;
  out: string;
  error: string;
}

function revenant(...words: string[]): Promise<Result> {
  return new Promise((resolve) => {
    const options = { timeout: 1_800_000, maxBuffer: 64 << 20 };
    execFile(process.execPath, [program, ...words], options, (error, out, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, error: stderr }),
    );
  });
}

async function look(...words: string[]): Promise<string> {
  const { code, out, error } = await revenant('checkpoint', ...words);
  assert.equal(code, 0, `${words.join(' ')}: ${error}`);
  return out;
}

/** A checkpoint of the built-in guest after so many instructions. */
async function save(instructions: number): Promise<string> {
  const path = join(folder, `${instructions}.checkpoint`);
  const words = ['builtin', '--serial', 'none', '--max-instructions', String(instructions), '--save', path];
  const { code, error } = await revenant('run', ...words);
  assert.equal(code, 12, error);
  return path;
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-inspect-'));
  file = await save(20_000_000);
  later = await save(30_000_000);
});
after(() => rm(folder, { recursive: true, force: true }));

test('JSON is for programs, and holds the same', async () => {
  const shown = JSON.parse(await look('show', file, '--json')) as Record<string, unknown>;
  assert.match(JSON.stringify(shown), /"instructions":"?20000000"?/);
});

test('show, registers and console say what the guest did', async () => {
  assert.match(await look('show', file), /instructions +20,000,000/);
  const registers = await look('registers', file);
  assert.match(registers, /64-bit mode, CPL 0, paging 4-level/);
  assert.match(registers, /cr0 +0x[0-9a-f]+ +.*PG.*PE/);
  assert.match(await look('console', file), /^step 1 [0-9a-f]{16}\r?$/m);
});

test('memory and disassemble give the same bytes, by linear and by physical address', async () => {
  const [, rip = ''] = /^rip ([0-9a-f]{16})/m.exec(await look('registers', file)) ?? [];
  const [, bytes = ''] = /^> +[0-9a-f]+ +([0-9a-f]+) /m.exec(await look('disassemble', file)) ?? [];
  assert.ok(bytes.length >= 2);
  const [, dump = ''] =
    /^[0-9a-f]+ {2}([0-9a-f ]+?) +\|/m.exec(await look('memory', file, `0x${rip}`, '16')) ?? [];
  assert.equal(dump.replaceAll(' ', '').slice(0, bytes.length), bytes);
  // The built-in guest maps its memory one to one.
  const physical = await look('memory', file, `0x${rip}`, '16', '--physical');
  assert.ok(physical.replaceAll(' ', '').includes(bytes));
});

test('search finds text where memory shows it', async () => {
  const { out, code } = await revenant('checkpoint', 'search', file, 'step ', '--limit', '1');
  assert.equal(code, 0);
  const [, address = ''] = /^ram +(0x[0-9a-f]+)/m.exec(out) ?? [];
  assert.match(await look('memory', file, address, '5', '--physical'), /\|step \|/);
});

test('diff tells registers and pages that changed; none in the same checkpoint', async () => {
  assert.match(await look('diff', file, later), /instructions +10,000,000/);
  assert.match(await look('diff', file, later), /^ram +[1-9]/m);
  assert.match(await look('diff', file, file), /^ram +0 /m);
});

test('pages and screen are drawn, as text and as PNG', async () => {
  assert.match(await look('pages', file), /ram: 4,096 pages/);
  assert.match(await look('screen', file), /^\+-{80}\+$/m);
  for (const command of ['pages', 'screen']) {
    const path = join(folder, `${command}.png`);
    await look(command, file, '--png', path);
    const png = await readFile(path);
    assert.deepEqual([...png.subarray(0, 8)], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    assert.ok(png.includes('IEND'));
  }
});

test('a file goes into a store and out again, the same', async () => {
  const url = `file:${folder}/store`;
  const store = ['--store', url];
  const missing = await revenant('checkpoint', 'import', file, 'vm1', ...store);
  assert.deepEqual([missing.code, existsSync(`${folder}/store`)], [4, false], missing.error);
  assert.equal((await revenant('store', 'init', url)).code, 0);
  await look('import', file, 'vm1', ...store);
  assert.match(await look('list', ...store), /^vm1 /m);
  const intact = /intact +[\d,]+ +([0-9a-f]{64})/;
  const [, content = 'none'] = intact.exec(await look('verify', file)) ?? [];
  assert.equal(intact.exec(await look('verify', 'vm1', ...store))?.[1], content);
  const back = join(folder, 'back.checkpoint');
  await look('export', 'vm1', back, ...store);
  assert.match(await look('diff', file, back), /^ram +0 /m);
  await look('gc', 'vm1', ...store);
  assert.match(await look('verify', 'vm1', ...store), /intact/);
});

test('damaged and missing checkpoints, and words that make no sense, get one line', async () => {
  const damaged = join(folder, 'damaged.checkpoint');
  await writeFile(damaged, await readFile(file));
  const handle = await open(damaged, 'r+');
  await handle.write(Buffer.alloc(16, 0x5a), 0, 16, 40_000);
  await handle.close();
  const cases: [string[], number][] = [
    [['show', join(folder, 'nothing')], 4],
    [['verify', damaged], 4],
    [['fly', file], 2],
    [['memory', file, 'here'], 2],
    [['linux', file], 4],
    [['show', 'vm9', '--store', `file:${folder}/store`], 16],
  ];
  for (const [words, expected] of cases) {
    const { code, error } = await revenant('checkpoint', ...words);
    assert.equal(code, expected, `${words.join(' ')}: ${error}`);
    assert.ok(error.startsWith('revenant: ') && error.trim().split('\n').length <= 2, error);
  }
});
