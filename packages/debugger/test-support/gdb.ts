/** Sessions of the real gdb, scripted. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { makeMonitor, type TargetArch, type TimeMachine } from '../src/index.ts';
import { serveGdb, type GdbServer } from '../src/host-node/index.ts';

export const hasGdb = spawnSync('gdb', ['--version']).status === 0;

export interface GdbRun {
  output: string;
  status: number | null;
}

/** Serves a machine on loopback. */
export function serve(target: TimeMachine, arch: TargetArch): Promise<GdbServer> {
  return serveGdb({ target, monitor: makeMonitor(target), host: '127.0.0.1', port: 0, arch: () => arch });
}

export function startGdb(port: number, commands: readonly string[]): ChildProcess {
  // Two seconds, its default, are less than a busy machine may take for an answer.
  const settings = ['set confirm off', 'set pagination off', 'set remotetimeout 60'];
  const all = [...settings, `target remote 127.0.0.1:${port}`, ...commands];
  return spawn('gdb', ['-nx', '-q', '-batch', ...all.flatMap((command) => ['-ex', command])], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Runs gdb with commands to its end. */
export async function gdb(server: GdbServer, commands: readonly string[]): Promise<GdbRun> {
  const gone = server.ended();
  const child = startGdb(server.port, commands);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
  const status = await new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  await gone;
  return { output, status };
}
