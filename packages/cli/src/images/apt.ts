/**
 * Fetches Debian packages with the host's apt, without root and without touching the host's own apt: lists, status and
 * cache are private folders, one set for each architecture. apt checks signatures and hashes as ever.
 */
import { spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError, ExitCode } from '../errors.ts';
import { readTarFiles } from './tar-stream.ts';

export type Architecture = 'amd64' | 'i386';

interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(command: string, args: readonly string[], cwd: string): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', (error) => {
      const hint =
        'images are made from Debian packages, on Debian or Ubuntu; the image "builtin" needs none';
      reject(new CliError(ExitCode.unavailable, `can't run ${command}`, hint, error));
    });
    child.on('close', (status) => {
      resolve({ status, stdout, stderr });
    });
  });
}

/** First line of an apt error worth showing. */
function reason(result: Finished): string {
  const lines = result.stderr.split('\n').filter((line) => line.startsWith('E:') || line.startsWith('W:'));
  return (lines[0] ?? result.stderr.trim().split('\n')[0] ?? `status ${result.status}`).replace(
    /^[EW]: /,
    '',
  );
}

export class PrivateApt {
  readonly #folder: string;
  readonly #options: readonly string[];

  /** @param folder where this architecture's lists and cache may lie */
  constructor(folder: string, architecture: Architecture) {
    this.#folder = folder;
    this.#options = [
      ['APT::Architecture', architecture],
      ['APT::Architectures::', architecture],
      ['APT::Sandbox::User', ''],
      ['Dir::State', join(folder, 'state')],
      ['Dir::State::Lists', join(folder, 'lists')],
      ['Dir::State::status', '/dev/null'],
      ['Dir::Cache', join(folder, 'cache')],
      ['Debug::NoLocking', '1'],
    ].flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  }

  /** Brings the package lists up to date. One list that fails (a mirror in the middle of its update) is no error. */
  async update(): Promise<void> {
    for (const part of ['state', 'lists/partial', 'cache/archives/partial']) {
      await mkdir(join(this.#folder, part), { recursive: true });
    }
    const result = await run('apt-get', [...this.#options, '-qq', 'update'], this.#folder);
    const lists = (await readdir(join(this.#folder, 'lists'))).filter((name) => name.includes('Packages'));
    if (lists.length > 0) return;
    throw new CliError(
      ExitCode.unavailable,
      `apt can't fetch its package lists: ${reason(result)}`,
      'check the network and /etc/apt/sources.list*; the image "builtin" needs neither',
    );
  }

  /** Name of the package that a meta package (linux-image-amd64) stands for, which begins as `wanted` says. */
  async resolveMetaPackage(name: string, wanted = /linux-image-\d/): Promise<string> {
    const result = await run('apt-cache', [...this.#options, 'depends', name], this.#folder);
    const needed = [...result.stdout.matchAll(/^\s*Depends: (\S+)/gm)].map(([, each = '']) => each);
    const found = needed.find((each) => each.search(wanted) === 0);
    if (found === undefined) {
      throw new CliError(
        ExitCode.unavailable,
        `apt knows no package ${name}`,
        'the kernels come from Debian 12 or newer',
      );
    }
    return found;
  }

  /** Downloads one package into `folder`; gives the path of the .deb file and its version. */
  async download(name: string, folder: string): Promise<{ path: string; version: string }> {
    const before = new Set(await readdir(folder));
    const result = await run('apt-get', [...this.#options, '-qq', 'download', name], folder);
    const added = (await readdir(folder)).find((entry) => entry.endsWith('.deb') && !before.has(entry));
    if (result.status !== 0 || added === undefined) {
      throw new CliError(
        ExitCode.unavailable,
        `apt can't download ${name}: ${reason(result)}`,
        'check the network and try again',
      );
    }
    return { path: join(folder, added), version: decodeURIComponent(added.split('_')[1] ?? '') };
  }
}

/**
 * Takes files out of a .deb.
 * @param wanted their paths in the package
 * @param enough how many there are at most; reading stops after as many
 * @returns path → contents
 */
export async function readMatchingFiles(
  deb: string,
  wanted: RegExp,
  enough: number,
): Promise<Map<string, Uint8Array>> {
  const child = spawn('dpkg-deb', ['--fsys-tarfile', deb], { stdio: ['ignore', 'pipe', 'ignore'] });
  const failed = new Promise<never>((_resolve, reject) => {
    child.on('error', (error) => {
      reject(
        new CliError(
          ExitCode.unavailable,
          "can't run dpkg-deb",
          'install dpkg, or use the image "builtin"',
          error,
        ),
      );
    });
  });
  const found = await Promise.race([readTarFiles(child.stdout, (path) => wanted.test(path), enough), failed]);
  child.kill();
  return found;
}

/**
 * Takes files out of a .deb.
 * @param wanted one pattern for each file
 * @returns their contents in the order of the patterns
 */
export async function readPackageFiles(deb: string, wanted: readonly RegExp[]): Promise<Uint8Array[]> {
  const any = new RegExp(wanted.map(({ source }) => `(?:${source})`).join('|'));
  const files = await readMatchingFiles(deb, any, wanted.length);
  return wanted.map((pattern) => {
    const path = [...files.keys()].find((candidate) => pattern.test(candidate));
    if (path === undefined) throw new CliError(ExitCode.unavailable, `${deb} has no file ${pattern.source}`);
    return files.get(path)!;
  });
}
