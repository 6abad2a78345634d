/** `revenant vm vnc`: a VM's screen for people's own viewers, wherever in the cluster the VM runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient } from '@revenant/cluster';
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { text, value } from '../../command/options.ts';
import { parseVncPlace, vncRequest, type VncOption } from '../../run/vnc-options.ts';
import { VncBridge } from '../../vnc/bridge.ts';

const lookMs = 1000;

/** Until the VM is stopped, or the person ends it. */
async function serve(client: ClusterClient, vmId: string, asked: VncOption): Promise<void> {
  await client.vm(vmId);
  const say = (line: string): boolean => process.stderr.write(`revenant: ${line}\n`);
  const bridge = await VncBridge.open(client, vmId, asked, say);
  const left = new AbortController();
  const leave = (): void => {
    left.abort();
  };
  process.once('SIGINT', leave).once('SIGTERM', leave);
  try {
    while (!left.signal.aborted) {
      await sleep(lookMs, undefined, { signal: left.signal }).catch(() => undefined);
      const vm = await client.vm(vmId).catch(() => undefined);
      if (vm === undefined || !['stopped', 'failed', 'deleted'].includes(vm.status)) continue;
      say(`${vmId} is ${vm.status}: ${vm.reason}`);
      return;
    }
  } finally {
    process.off('SIGINT', leave).off('SIGTERM', leave);
    await bridge.close();
  }
}

const { json: _, ...vncOptions } = connectOptions;

export const command = define({
  words: ['NAME'],
  options: {
    vnc: value('HOST:PORT', 'where viewers find it', parseVncPlace, { host: '127.0.0.1', port: 5900 }),
    'vnc-web': value('HOST:PORT', 'the same for viewers that are web pages, such as noVNC', parseVncPlace),
    'vnc-password-file': text('FILE', 'the password of both, of one to eight characters'),
    ...vncOptions,
  },
  examples: ['vm vnc web', 'vm vnc web --vnc 0.0.0.0:5901 --vnc-password-file secret'],
  async run(input) {
    const { options } = input;
    const asked = vncRequest(options);
    if (asked === undefined) return undefined;
    await withCluster({ ...options, json: false }, (client) => serve(client, input.word(0), asked));
    return undefined;
  },
});
