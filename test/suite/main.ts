/**
 * `npm test`: lint, format, types and layers are tests like the others (.ci/house.test.ts). `npm test -- storage x87` runs the files whose
 * path contains one of the words; words that begin with a dash go to Node's test runner.
 *
 * Hundreds of tests share the processors with clusters that are killed and guests that boot, so a test may fail for what runs beside it.
 * A file in which one failed is run again, alone, twice at most. If that passes, the run passes, and its end names the file as unsteady:
 * a fault of the test or of the product that is to be found, but not one of the change that is being tested. `--once` leaves that out.
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
/** When files fail, those are run again, alone, so often … */
const maxTries = 2;
/** … unless there are more of them: that is not by chance. */
const maxUnsteady = 10;

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
  /** The files in which something failed. */
  failed: string[];
}

/** Runs test files, `jobs` at a time; `list` is a file for the names of those that fail. */
function runFiles(
  files: readonly string[],
  jobs: number,
  options: readonly string[],
  list: string,
): Promise<Outcome> {
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  reporters.push(`--test-reporter=${new URL('failed-files.ts', import.meta.url).href}`);
  reporters.push(`--test-reporter-destination=${list}`);
  const words = ['--test', `--test-concurrency=${String(jobs)}`, ...reporters, ...options, ...files];
  const child = spawn(process.execPath, words, { cwd: root, stdio: 'inherit' });
  let interrupted = false;
  const end = (signal: NodeJS.Signals): void => {
    interrupted = true;
    child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.once(signal, end);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const each of signals) process.off(each, end);
      const failed = code === 0 ? [] : readFileSync(list, 'utf8').split('\n').filter(Boolean);
      resolve({ code: code ?? 1, interrupted: interrupted || signal !== null, failed });
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
  try {
    const first = await runFiles(files, Math.max(2, availableParallelism() - 1), options, list);
    let last = first;
    for (let tries = 0; tries < maxTries && !words.includes('--once'); tries++) {
      if (last.interrupted || last.failed.length === 0 || last.failed.length > maxUnsteady) break;
      console.log(`\nonce more, alone: ${last.failed.join(' ')}\n`);
      last = await runFiles(last.failed, 1, options, list);
    }
    if (last.code === 0 && last !== first)
      console.log(`\nunsteady: failed beside others, and passed alone: ${first.failed.join(' ')}`);
    return last.code;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
