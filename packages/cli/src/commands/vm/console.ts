/** `revenant vm console`: the terminal as a VM's serial console, wherever in the cluster the VM runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient } from '@revenant/cluster';
import { TerminalQuestions } from '@revenant/cluster/protocol';
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { Terminal } from '../../run/terminal.ts';

const lookMs = 1000;

/**
 * Stays attached through failovers, until Ctrl-] or until the VM is stopped. What is typed while the VM is between two nodes
 * waits for the next one.
 */
async function attachConsole(client: ClusterClient, vmId: string): Promise<void> {
  await client.vm(vmId);
  const say = (line: string): boolean => process.stderr.write(`\r\nrevenant: ${line}\r\n`);
  const questions = new TerminalQuestions(() => performance.now());
  let known = 0;
  const waiting: Uint8Array[] = [];
  const heard = (bytes: Uint8Array, epoch: number): void => {
    if (known !== 0 && epoch !== known)
      say(`${vmId} goes on elsewhere (epoch ${epoch}); what it wrote since its checkpoint comes again`);
    known = epoch;
    process.stdout.write(process.stdout.isTTY ? questions.pass(bytes) : bytes);
  };
  const follower = client.console(vmId, heard, say);
  const left = new AbortController();
  const type = (): void => {
    for (let bytes = waiting[0]; bytes !== undefined && follower.write(bytes); bytes = waiting[0])
      waiting.shift();
  };
  if (process.stdin.isTTY) say(`console of ${vmId}; Ctrl-] leaves it`);
  const terminal = new Terminal(process.stdin, {
    input(bytes) {
      questions.typed(bytes);
      waiting.push(bytes);
      type();
    },
    escape() {
      left.abort();
    },
  });
  try {
    for (let sinceLook = 0; !left.signal.aborted; sinceLook++) {
      await sleep(lookMs / 10, undefined, { signal: left.signal }).catch(() => undefined);
      type();
      if (sinceLook % 10 !== 9) continue;
      const vm = await client.vm(vmId).catch(() => undefined);
      if (vm === undefined || !['stopped', 'failed', 'deleted'].includes(vm.status)) continue;
      say(`${vmId} is ${vm.status}: ${vm.reason}`);
      return;
    }
  } finally {
    terminal.close();
    follower.close();
  }
}

const { json: _, ...consoleOptions } = connectOptions;

export const command = define({
  words: ['NAME'],
  options: consoleOptions,
  examples: ['vm console web --store file:/srv/revenant'],
  async run({ words, options }) {
    const [vmId = ''] = words;
    await withCluster({ ...options, json: false }, (client) => attachConsole(client, vmId));
    return undefined;
  },
});
