/** `revenant vm`: VMs of a cluster. */
import { parseArgs } from 'node:util';
import type { ClusterClient, ClusterStatus, ProtectedVm } from '@revenant/cluster';
import { writeOutput } from '../checkpoint/pages.ts';
import { screenPng } from '../checkpoint/screen.ts';
import type { Command } from '../command.ts';
import {
  chosenStore,
  connectHelp,
  connectOptions,
  orStored,
  storedNote,
  withCluster,
} from '../cluster/connect.ts';
import { attachConsole } from '../cluster/console.ts';
import { createHelp, createOptions, createVm } from '../cluster/create.ts';
import { eventHelp, eventOptions, showEvents } from '../cluster/events.ts';
import { print, printJson, vmTable } from '../cluster/output.ts';
import { CliError, ExitCode } from '../errors.ts';

const options = {
  ...connectOptions,
  ...createOptions,
  ...eventOptions,
  to: { type: 'string' },
  png: { type: 'string' },
  'no-wait': { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parse>['values'];

function parse(words: string[]) {
  return parseArgs({ args: words, allowPositionals: true, options });
}

/** States in which what was asked for has come about. */
const reached: Record<string, readonly string[]> = {
  create: ['running', 'stopped'],
  start: ['running'],
  stop: ['stopped'],
  pause: ['paused'],
  resume: ['running'],
  migrate: ['running', 'paused'],
};

/** What a node says, or else the store. */
function ask(client: ClusterClient, values: Values): Promise<ClusterStatus> {
  return orStored(
    values,
    () => client.status(),
    () => client.storedStatus(),
  );
}

async function show(client: ClusterClient, vmId: string, values: Values): Promise<void> {
  const { vms, nodes } = await ask(client, values);
  const vm = vms.find(({ id }) => id === vmId) ?? (await client.vm(vmId));
  const holder = nodes.find(({ view }) => view?.powerOn.some((entry) => entry.vmId === vmId));
  const entry = holder?.view?.powerOn.find((each) => each.vmId === vmId);
  if (values.json) return printJson({ ...vm, holder: holder?.id ?? null, epoch: entry?.epoch ?? null });
  const { spec } = vm;
  const rows: [string, string][] = [
    ['name', vm.id],
    ['status', `${vm.status}: ${vm.reason}`],
    ['wanted', vm.desired],
    ['node', holder?.id ?? vm.assignment?.node ?? 'none'],
    ['epoch', entry === undefined ? 'none' : String(entry.epoch)],
    ['runtime', spec.runtime],
    ['memory', `${spec.memoryMiB} MiB`],
    ['priority', String(spec.priority)],
    ['anti-affinity', spec.antiAffinity ?? 'none'],
    [
      'checkpoints',
      spec.checkpointMs === undefined ? "at the cluster's interval" : `every ${spec.checkpointMs} ms`,
    ],
    ['outputs', spec.outputs],
    [
      'health',
      spec.health === undefined
        ? 'its emulator only'
        : `${spec.health.watch}: hung when silent for ${spec.health.silentMs / 1000} s`,
    ],
    ['boot', String(vm.boot)],
    [
      'failed tries',
      [String(vm.tries), ...vm.avoid.map((node) => `not on ${node} again just now`)].join(', '),
    ],
    ['description', JSON.stringify(spec.description)],
  ];
  print(rows.map(([name, value]) => `${name.padEnd(14)}${value}`).join('\n'));
}

async function list(client: ClusterClient, values: Values): Promise<void> {
  const vms = (await ask(client, values)).vms.filter(({ status }) => status !== 'deleted');
  if (values.json) printJson(vms);
  else print(vms.length === 0 ? 'no VMs' : vmTable(vms));
}

/** Waits until a command that a node took has had its effect, and says what the VM is then. */
async function settled(
  client: ClusterClient,
  { verb, vmId, by }: { verb: string; vmId: string; by: 'node' | 'store' },
  values: Values,
): Promise<void> {
  if (by === 'store') {
    if (values.json) printJson({ id: vmId, done: verb, by });
    else print(`${vmId}: ${storedNote}`);
    return;
  }
  let vm: ProtectedVm | undefined;
  const states = reached[verb];
  if (states !== undefined && !values['no-wait']) {
    vm = await client.waitFor(vmId, [...states, 'failed']);
    if (vm.status === 'failed') throw new CliError(ExitCode.refused, `${vmId} failed: ${vm.reason}`);
  }
  if (values.json) printJson(vm ?? { id: vmId, done: verb });
  else if (vm === undefined) print(`${vmId}: ${verb} is on its way`);
  else print(`${vmId} is ${vm.status}${vm.assignment === null ? '' : ` on ${vm.assignment.node}`}`);
}

const verbs: Record<
  string,
  (client: ClusterClient, vmId: string, values: Values, rest: readonly string[]) => Promise<void>
> = {
  async create(client, vmId, values, [image]) {
    const by = await createVm(client, vmId, image, values, chosenStore(values));
    await settled(client, { verb: 'create', vmId, by }, values);
  },
  show,
  console: attachConsole,
  async events(client, vmId, values) {
    await showEvents(client, values, vmId);
  },
  async 'send-key'(client, vmId, values, combinations) {
    if (combinations.length === 0)
      throw new CliError(
        ExitCode.usage,
        'no key was named',
        'revenant vm send-key NAME ControlLeft+KeyC Enter',
      );
    for (const combination of combinations) await client.press(vmId, combination.split('+'));
    if (values.json) printJson({ id: vmId, keys: combinations });
  },
  async screenshot(client, vmId, values) {
    const screen = await client.screen(vmId);
    if (values.png !== undefined) writeOutput(values.png, screenPng(screen));
    if (values.json) printJson(screen.lines);
    else if (values.png === undefined) print(screen.lines.join('\n'));
  },
  async migrate(client, vmId, values) {
    const by = await client.command({
      type: 'vm-migrate',
      vmId,
      ...(values.to === undefined ? {} : { to: values.to }),
    });
    await settled(client, { verb: 'migrate', vmId, by }, values);
  },
};
for (const verb of ['start', 'stop', 'pause', 'resume', 'delete'] as const)
  verbs[verb] = async (client, vmId, values) => {
    const by = await client.command({ type: `vm-${verb}`, vmId });
    await settled(client, { verb, vmId, by }, values);
  };

export const command: Command = {
  summary: 'VMs of a cluster: create, list, start, stop, move, console, events',
  help: `Usage: revenant vm create NAME IMAGE|--kernel FILE [OPTIONS]
       revenant vm list [OPTIONS]
       revenant vm show|start|stop|pause|resume|delete|console NAME [OPTIONS]
       revenant vm migrate NAME [--to NODE] [OPTIONS]
       revenant vm send-key NAME KEY[+KEY]… [OPTIONS]
       revenant vm screenshot NAME [--png FILE] [OPTIONS]
       revenant vm events NAME [--since TIME] [--limit N] [--follow] [OPTIONS]

create    enters a VM into the protected list and starts it: from now on the cluster keeps it running
stop      powers it off: it is not restarted, its disks stay
pause     holds it, with its state; resume lets it go on
delete    for good, with its checkpoints
migrate   moves it while it runs, to --to NODE or where there is most room
send-key  presses keys of its keyboard, named as in KeyboardEvent.code: KeyA, Enter, ControlLeft+AltLeft+Delete
screenshot  its text screen, as text, or with --png as a picture
console   the terminal as its serial console; stays attached through failovers; Ctrl-] leaves

Commands wait until they have had their effect; --no-wait: only until they are accepted. With --store they are taken, list, show and
events answered, also while no node runs: what was asked for takes effect when one starts (but migrate, which needs nodes).

${createHelp}

${eventHelp}
${connectHelp}

Examples:
  revenant vm create web linux-cloud --memory 256M --priority 5 --store file:/srv/revenant
  revenant vm console web --store file:/srv/revenant
  revenant vm migrate web --to b --node 127.0.0.1:7001
  revenant vm events web --since 1h --node 127.0.0.1:7001`,
  async run(words) {
    const { values, positionals } = parse(words);
    const [verb = 'list', vmId, ...rest] = positionals;
    if (verb !== 'list' && !Object.hasOwn(verbs, verb))
      throw new CliError(
        ExitCode.usage,
        `vm can't '${verb}'`,
        `choose from list, ${Object.keys(verbs).join(', ')}`,
      );
    if (verb !== 'list' && vmId === undefined)
      throw new CliError(ExitCode.usage, "the VM's name is missing", `revenant vm ${verb} NAME`);
    await withCluster(values, (client) =>
      verb === 'list'
        ? list(client, values)
        : (verbs[verb] as (typeof verbs)[string])(client, vmId ?? '', values, rest),
    );
    return ExitCode.ok;
  },
};
