/** Starts a real S3 server for tests, or says why it cannot. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = new URL('./ceph.sh', import.meta.url).pathname;

export interface Ceph {
  endpoint: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
  stop: () => Promise<void>;
}

/**
 * Installs (as root, on Debian) and starts Ceph's gateway.
 * @returns the running server, or the reason why there can be none here.
 */
export async function startCeph(): Promise<Ceph | { unavailable: string }> {
  try {
    await run(script, ['install'], { timeout: 300_000 });
    const folder = await mkdtemp(join(tmpdir(), 'revenant-ceph-'));
    // The daemons are nobody's children: a watcher of the script's ends them should we end without a word.
    const env = { ...process.env, CEPH_WATCHED: String(process.pid) };
    const { stdout } = await run(script, ['start', folder], { timeout: 240_000, env });
    const stop = async (): Promise<void> => {
      await run(script, ['stop', folder]);
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    };
    const credentials = { accessKeyId: 'revenant', secretAccessKey: 'revenantsecret' };
    return { endpoint: stdout.trim(), credentials, stop };
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const reason = said.split('\n').at(-1) ?? '';
    return { unavailable: `no Ceph gateway can be started here: ${reason || String(error)}` };
  }
}

/** What a test of the gateway does without one: is skipped with the reason, but fails where CI=true. */
export function skipReason(ceph: Ceph | { unavailable: string }): string | false {
  if (!('unavailable' in ceph)) return false;
  if (process.env['CI'] === 'true') throw new Error(ceph.unavailable);
  return ceph.unavailable;
}
