/** `revenant debug gdb`: a machine behind GDB's remote protocol. */
import { archOf, linuxCommands, makeMonitor, type TargetArch, type TimeMachine } from '@revenant/debugger';
import { serveGdb, type GdbServer } from '@revenant/debugger/host-node';
import { hasLongMode } from '@revenant/emulator';
import { CliError, ExitCode, messageOf } from '../errors.ts';

export type ArchChoice = TargetArch | 'auto';

export interface GdbOptions {
  listen: { host: string; port: number };
  arch: ArchChoice;
  say: (line: string) => void;
}

/** Throws CliError when it can't listen there. */
export async function startGdbServer(
  target: TimeMachine,
  { listen, arch, say }: GdbOptions,
): Promise<GdbServer> {
  const { machine } = target;
  const { model } = machine.description.cpu;
  const canLongMode = hasLongMode(model);
  const linux = linuxCommands(target);
  try {
    return await serveGdb({
      ...listen,
      target,
      say,
      monitor: makeMonitor(target, linux.commands),
      file: linux.file,
      arch: () => (arch === 'auto' ? archOf(machine.registers(), canLongMode) : arch),
    });
  } catch (error) {
    throw new CliError(
      ExitCode.usage,
      `--listen: can't listen on ${listen.host}:${listen.port}: ${messageOf(error)}`,
      'choose another port, for example --listen 127.0.0.1:0 for any that is free',
      error,
    );
  }
}
