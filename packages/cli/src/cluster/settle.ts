/** After a command: waits until it has had its effect, and says what the VM is then. */
import type { ClusterClient, ProtectedVm } from '@revenant/cluster';
import { flag, type Options, type Values } from '../command/options.ts';
import { CliError, ExitCode } from '../errors.ts';
import { print, printJson } from '../output/print.ts';
import { waitingUntil } from '../output/waiting.ts';
import { connectOptions, storedNote } from './connect.ts';

/** Options of every command that changes a VM. */
export const changeOptions = {
  'no-wait': flag('only until the command is accepted, not until it has had its effect'),
  ...connectOptions,
} satisfies Options;

/** States in which what was asked for has come about; none: it is not waited for. */
const reached = {
  create: ['running', 'stopped'],
  start: ['running'],
  stop: ['stopped'],
  pause: ['paused'],
  resume: ['running'],
  migrate: ['running', 'paused'],
  set: undefined,
  delete: undefined,
} as const;

export interface Change {
  verb: keyof typeof reached;
  vmId: string;
  /** Who took the command. */
  by: 'node' | 'store';
}

/** Throws CliError when the VM failed. */
export async function settled(
  client: ClusterClient,
  { verb, vmId, by }: Change,
  values: Values<typeof changeOptions>,
): Promise<void> {
  if (by === 'store') {
    if (values.json) printJson({ id: vmId, done: verb, by });
    else print(`${vmId}: ${storedNote}`);
    return;
  }
  let vm: ProtectedVm | undefined;
  const states = reached[verb];
  if (states !== undefined && !values['no-wait']) {
    vm = await waitingUntil(`${vmId} is ${states.join(' or ')}`, () =>
      client.waitFor(vmId, [...states, 'failed']),
    );
    if (vm.status === 'failed') throw new CliError(ExitCode.refused, `${vmId} failed: ${vm.reason}`);
  }
  if (values.json) printJson(vm ?? { id: vmId, done: verb });
  else if (vm === undefined) print(`${vmId}: ${verb} is on its way`);
  else print(`${vmId} is ${vm.status}${vm.assignment === null ? '' : ` on ${vm.assignment.node}`}`);
}

/** Sends the command of that name for one VM, and waits for its effect. */
export async function changeVm(
  client: ClusterClient,
  verb: 'start' | 'stop' | 'pause' | 'resume' | 'delete',
  vmId: string,
  values: Values<typeof changeOptions>,
): Promise<void> {
  const by = await client.command({ type: `vm-${verb}`, vmId });
  await settled(client, { verb, vmId, by }, values);
}
