/** `revenant debug gdb`: a guest under gdb or lldb, forwards and backwards. */
import { define } from '../../command/command.ts';
import { flag, value } from '../../command/options.ts';
import { listenAddress, oneOf } from '../../command/values.ts';
import { startGdbServer } from '../../debug/gdb.ts';
import { openTarget, type OpenOptions } from '../../debug/open.ts';
import { openPast } from '../../debug/past.ts';
import { guestOptions, guestRequest, parseSerial } from '../../run/options.ts';

export const command = define({
  words: ['[IMAGE|FILE|VM@CHECKPOINT]'],
  about: `Makes the machine, stands still before its first instruction (with --restore: where the checkpoint is) and waits for a debugger:

  gdb -ex 'target remote 127.0.0.1:1234'

With --store, VM or VM@CHECKPOINT is a moment of a VM's past, and what came in behind it is known where the VM keeps a log
('vm create --output log'); the living VM is not touched. Events of a cluster name this command when a guest panics, hangs or resets itself.

Breakpoints and watchpoints don't change the guest, and cost nothing where they are not met. reverse-stepi, reverse-continue and
'monitor goto' go back, up to where the machine stood first: 'who wrote this last?' is a watchpoint and reverse-continue. What a debugger
writes belongs to the run from then on. 'monitor help' lists what gdb has no command for. The end of gdb leaves the machine as it is: the
next one finds it there. Ctrl-C ends this command. Whoever can connect has the machine in their hands, so listen on loopback only.`,
  options: {
    listen: value(
      'HOST:PORT',
      'where to wait (default 127.0.0.1:1234; port 0: any that is free)',
      listenAddress,
      {
        host: '127.0.0.1',
        port: 1234,
      },
    ),
    arch: value(
      'NAME',
      `what gdb is told: x86-64, i386, i8086, or auto (default): by what the processor executes when
gdb connects`,
      oneOf(['auto', 'x86-64', 'i386', 'i8086']),
      'auto' as const,
    ),
    once: flag('end when the first debugger has gone'),
    ...guestOptions,
    serial: value('stdio|none', "stdio shows the guest's console on stdout (default none)", parseSerial),
  },
  examples: [
    'debug gdb linux-cloud',
    'debug gdb --restore linux.checkpoint --listen 127.0.0.1:0',
    'debug gdb vm1@3-17 --store file:/srv/revenant',
    'debug gdb disk.img --arch i8086 --serial stdio',
  ],
  async run(input) {
    const { listen, arch, once, serial = { kind: 'none' as const } } = input.options;
    const say = (line: string): void => {
      process.stderr.write(`revenant: ${line}\n`);
    };
    const open: OpenOptions = {
      say,
      ...(serial.kind === 'stdio' ? { console: (bytes) => process.stdout.write(bytes) } : {}),
    };
    const [word] = input.words;
    const { store, restore } = input.options;
    const { target, close } =
      word !== undefined && store !== undefined && restore === undefined
        ? await openPast(word, store, open)
        : await openTarget({ ...guestRequest(input.options, word), serial, engine: 'translator' }, open);
    try {
      const server = await startGdbServer(target, { listen, arch, say });
      say(`waiting for a debugger: target remote ${listen.host}:${server.port}`);
      await Promise.race([
        ...(once ? [server.ended()] : []),
        new Promise<void>((resolve) => {
          for (const signal of ['SIGINT', 'SIGTERM'] as const)
            process.once(signal, () => {
              resolve();
            });
        }),
      ]);
      await server.close();
    } finally {
      await close();
    }
    return undefined;
  },
});
