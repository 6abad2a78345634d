/** `revenant vm debug`: gdb or lldb at a VM of the cluster while it lives. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { serveLiveDebugger } from '../../cluster/live-debugger.ts';
import { define } from '../../command/command.ts';
import { flag, value } from '../../command/options.ts';
import { listenAddress } from '../../command/values.ts';

const { json: _, ...options } = connectOptions;

export const command = define({
  words: ['NAME'],
  about: `Waits for a debugger, and puts it at the VM that runs:

  gdb -ex 'set remotetimeout 60' -ex 'target remote 127.0.0.1:1234'

The guest stands still from when the debugger comes until it says 'continue', 'detach', or is gone, however it went. While it stands still its
clock waits, its health is not watched, checkpoints go on, and it stays where it is: others wait for what it does not say. Breakpoints and
watchpoints don't change it. What the debugger writes is a part of the VM's life, as what is typed is: its log, its standby and its
checkpoints have it. When the VM moves or its node ends, the debugger is cut off and the guest runs on, without breakpoints; connect again to be
where it is then. A VM that lives goes forwards only: for its past see 'revenant debug gdb VM@CHECKPOINT'. Needs the role operate.
Whoever can connect has the machine in their hands, so listen on loopback only. Ctrl-C ends this command.`,
  options: {
    listen: value(
      'HOST:PORT',
      'where to wait (default 127.0.0.1:1234; port 0: any that is free)',
      listenAddress,
      { host: '127.0.0.1', port: 1234 },
    ),
    once: flag('end when the first debugger has gone'),
    ...options,
  },
  examples: [
    'vm debug web --store file:/srv/revenant',
    'vm debug web --node 127.0.0.1:7001 --listen 127.0.0.1:0',
  ],
  async run({ words, options: { listen, once, ...connection } }) {
    const [vmId = ''] = words;
    await withCluster({ ...connection, json: false }, async (client) => {
      // Asked before anybody waits for a debugger.
      await client.vm(vmId);
      await serveLiveDebugger(client, vmId, { listen, once });
    });
    return undefined;
  },
});
