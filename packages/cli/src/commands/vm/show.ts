/** `revenant vm show`. */
import type { ClusterClient, ClusterStatus, ProtectedVm, VmSeen } from '@revenant/cluster';
import { askStatus, connectOptions, withCluster, type ConnectValues } from '../../cluster/connect.ts';
import { standbyWords, statusOf } from '../../cluster/tables.ts';
import { define } from '../../command/command.ts';
import { fields } from '../../output/print.ts';

interface Shown {
  vm: VmSeen;
  /** The node that runs it, and the epoch under which it does. */
  holder: string | undefined;
  epoch: number | undefined;
}

async function find(client: ClusterClient, vmId: string, values: ConnectValues): Promise<Shown> {
  const { vms, nodes }: ClusterStatus = await askStatus(client, values);
  const vm = vms.find(({ id }) => id === vmId) ?? (await client.vm(vmId));
  const holder = nodes.find(({ view }) => view?.powerOn.some((entry) => entry.vmId === vmId));
  const entry = holder?.view?.powerOn.find((each) => each.vmId === vmId);
  return { vm, holder: holder?.id, epoch: entry?.epoch };
}

function networkText({ spec: { network }, nic }: ProtectedVm): string {
  const publish = network?.publish.map(
    ({ on, port, guestPort, protocol }) => `${on}:${String(port)}:${String(guestPort)}/${protocol}`,
  );
  return [`${network?.name ?? ''} ${nic?.address ?? ''} ${nic?.mac ?? ''}`, ...(publish ?? [])].join(', ');
}

function text({ vm, holder, epoch }: Shown): string {
  const { spec } = vm;
  const { status, reason } = statusOf(vm);
  return fields([
    ['name', vm.id],
    ['status', `${status}: ${reason}`],
    ['wanted', vm.desired],
    ['node', holder ?? vm.assignment?.node ?? 'none'],
    ['epoch', epoch === undefined ? 'none' : String(epoch)],
    ['runtime', spec.runtime],
    ['memory', `${spec.memoryMiB} MiB`],
    ['priority', String(spec.priority)],
    ['nodes', spec.nodes === undefined ? 'any' : `only ${spec.nodes.join(', ')}`],
    ...(spec.prefers === undefined ? [] : ([['prefers', spec.prefers.join(', ')]] as const)),
    ['affinity', spec.affinity ?? 'none'],
    ['anti-affinity', spec.antiAffinity ?? 'none'],
    [
      'checkpoints',
      spec.checkpointMs === undefined ? "at the cluster's interval" : `every ${spec.checkpointMs} ms`,
    ],
    ['network', spec.network === undefined ? 'none' : networkText(vm)],
    ['outputs', spec.outputs],
    ['store quota', spec.storeQuotaBytes === undefined ? 'none' : `${spec.storeQuotaBytes / 2 ** 20} MiB`],
    ['standby', standbyWords(vm) === 'none' ? (vm.alone ?? 'none') : (standbyWords(vm) ?? 'none')],
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
  ]);
}

export const command = define({
  words: ['NAME'],
  options: connectOptions,
  examples: ['vm show web --store file:/srv/revenant'],
  async run(input) {
    const shown = await withCluster(input.options, (client) => find(client, input.word(0), input.options));
    const { vm, holder, epoch } = shown;
    input.show({ ...vm, holder: holder ?? null, epoch: epoch ?? null }, () => text(shown));
    return undefined;
  },
});
