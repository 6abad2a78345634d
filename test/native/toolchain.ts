/** In continuous integration the oracles must not be skipped silently: their Debian packages are installed when absent. */
import { spawnSync } from 'node:child_process';

const packages: Readonly<Record<string, readonly string[]>> = {
  gcc: ['gcc', 'libc6-dev'],
  as: ['binutils'],
  'qemu-system-x86_64': ['qemu-system-x86'],
  chromium: ['chromium'],
  // A viewer, a display for it, and programs that look at that display and type.
  xtigervncviewer: ['tigervnc-viewer', 'xvfb', 'x11-apps', 'xdotool'],
  openssl: ['openssl'],
};

export type Tool = 'gcc' | 'as' | 'qemu-system-x86_64' | 'chromium' | 'openssl' | 'xtigervncviewer';

function present(tool: Tool): boolean {
  return spawnSync('which', [tool], { stdio: 'ignore' }).status === 0;
}

/** Does nothing outside of CI (environment variable CI) or when all tools are there. Throws when they can't be installed. */
export function requireToolsInCi(tools: readonly Tool[]): void {
  if (process.env['CI'] === undefined) return;
  const missing = tools.filter((tool) => !present(tool));
  if (missing.length === 0) return;
  const wanted = missing.flatMap((tool) => packages[tool] ?? []);
  // Other tests may be installing at the same time.
  const options = ['-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=600'];
  const apt = (...words: string[]): ReturnType<typeof spawnSync> =>
    spawnSync('apt-get', words, {
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  apt('update');
  const run = apt('install', ...options, ...wanted);
  if (run.status !== 0)
    throw new Error(`CI needs ${wanted.join(' ')}: ${run.error?.message ?? String(run.stderr)}`);
}
