/**
 * `npm test`: lint, format, types and layers are tests like the others (.ci/house.test.ts). `npm test -- storage x87` runs the files whose
 * path contains one of the words; words that begin with a dash go to Node's test runner.
 *
 * Hundreds of tests share the processors with clusters that are killed and guests that boot, so a test may fail for what runs beside it.
 * A file in which one failed is run once more, alone. If that passes, the run passes, and its end names the file as unsteady: a fault
 * of the test or of the product that is to be found, but not one of the change that is being tested. `--once` leaves that out.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Folders that hold tests, in the order in which they are started. */
const folders = ['.ci', 'test', 'packages', 'images', 'release'];
/** When more fail, it is not by chance. */
const maxUnsteady = 5;

async function findFiles(filters: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    const exclude = (path: string): boolean => path.includes('node_modules');
    const files: string[] = [];
    for await (const file of glob(`${folder}/**/*.test.ts`, { cwd: root, exclude })) files.push(file);
    found.push(...files.sort());
  }
  return found.filter((file) => filters.length === 0 || filters.some((word) => file.includes(word)));
}

interface Outcome {
  code: number;
  /** Whoever ended it wants no second try. */
  interrupted: boolean;
}

function runFiles(files: readonly string[], options: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, ['--test', ...options, ...files], { cwd: root, stdio: 'inherit' });
  let interrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      interrupted = true;
      child.kill(signal);
    });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      resolve({ code: code ?? 1, interrupted: interrupted || signal !== null });
    });
  });
}

async function main(words: readonly string[]): Promise<number> {
  const options = words.filter((word) => word.startsWith('-') && word !== '--once');
  const filters = words.filter((word) => !word.startsWith('-'));
  const files = await findFiles(filters);
  if (files.length === 0) {
    console.error(`no test file matches ${filters.join(' ')}: npm test -- PART_OF_A_PATH…`);
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), 'revenant-suite-'));
  const list = join(folder, 'failed');
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  reporters.push(`--test-reporter=${new URL('failed-files.ts', import.meta.url).href}`);
  reporters.push(`--test-reporter-destination=${list}`);
  try {
    const jobs = Math.max(2, availableParallelism() - 1);
    const { code, interrupted } = await runFiles(files, [
      `--test-concurrency=${jobs}`,
      ...reporters,
      ...options,
    ]);
    const failed = code === 0 ? [] : readFileSync(list, 'utf8').split('\n').filter(Boolean);
    if (interrupted || failed.length === 0 || failed.length > maxUnsteady || words.includes('--once'))
      return code;
    console.log(`\nonce more, alone: ${failed.join(' ')}\n`);
    const { code: again } = await runFiles(failed, ['--test-concurrency=1', ...options]);
    if (again === 0) console.log(`\nunsteady: failed beside others, and passed alone: ${failed.join(' ')}`);
    return again;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
