/** `revenant debug gdb`: a machine behind GDB's remote protocol. */
import {
  archOf,
  linuxCommands,
  makeMonitor,
  type MonitorCommand,
  type TargetArch,
  type TimeMachine,
} from '@revenant/debugger';
import { serveGdb, type GdbServer } from '@revenant/debugger/host-node';
import { screenLines } from '@revenant/emulator';
import { registersText } from '@revenant/debugger/inspect';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { printable } from '../output/printable.ts';

export type ArchChoice = TargetArch | 'auto';

/** What this program knows of a machine beyond what its debugger does. */
const commands: Record<string, MonitorCommand> = {
  'info registers': {
    usage: 'info registers',
    summary: 'all of the processor, bits by name',
    run: (_words, target) => `${registersText(target.machine.registers())}\n`,
  },
  'info screen': {
    usage: 'info screen',
    summary: 'the text on the display',
    run: (_words, { machine }) => {
      const screen = machine.screen();
      return screen === undefined
        ? 'there is no text on a display\n'
        : `${screenLines(screen).map(printable).join('\n')}\n`;
    },
  },
  'info device': {
    usage: 'info device NAME',
    summary: 'the state of a chip, such as pit-8254 or uart-16550a-0',
    run: ([name = ''], { machine }) => {
      const state = machine.deviceState(name);
      if (state === undefined) return `there is no device '${name}'\n`;
      return `${JSON.stringify(state, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value), 2)}\n`;
    },
  },
};

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
  const canLongMode = model === 'x86-64' || model === 'x86-64-v2';
  const linux = linuxCommands(target);
  try {
    return await serveGdb({
      ...listen,
      target,
      say,
      monitor: makeMonitor(target, { ...commands, ...linux.commands }),
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
