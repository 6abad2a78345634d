/**
 * `npm run bench -- WHAT [OPTIONS]`: one file of this folder for each WHAT, exporting
 * `bench(argv: string[]): Promise<void>` and `usage: string`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from './usage-error.ts';

interface Benchmark {
  usage: string;
  bench(argv: string[]): Promise<void>;
}

const names = ['cpu', 'checkpoint', 'log', 'failover', 'many', 'churn', 'clock', 'network'].filter((name) =>
  existsSync(join(import.meta.dirname, `${name}.ts`)),
);
/** EX_USAGE of sysexits.h. */
const exitUsage = 64;

async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  const help = argv.includes('--help');
  if (name === undefined || name === '--help' || !names.includes(name)) {
    const stream = help ? process.stdout : process.stderr;
    if (!help && name !== undefined) stream.write(`bench: there is no benchmark "${name}"\n`);
    stream.write(
      `usage: npm run bench -- ${names.join('|')} [OPTIONS]\nexample: npm run bench -- cpu --against v86,qemu\n`,
    );
    return help ? 0 : exitUsage;
  }
  const benchmark = (await import(`./${name}.ts`)) as Benchmark;
  if (help) {
    process.stdout.write(benchmark.usage);
    return 0;
  }
  try {
    await benchmark.bench(rest);
    return 0;
  } catch (error) {
    if (
      !(error instanceof UsageError) &&
      (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') !== true
    )
      throw error;
    process.stderr.write(`bench ${name}: ${(error as Error).message}\n${benchmark.usage}`);
    return exitUsage;
  }
}

process.exitCode = await main(process.argv.slice(2));
