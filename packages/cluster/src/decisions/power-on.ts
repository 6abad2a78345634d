/** What a node publishes of the VMs that it has: its power-on list, and reports of what came to its end. */
import { vmOf, type PowerOnEntry } from './records.ts';
import { changeView, type Context } from './state.ts';

/** Brings the power-on list and the reports that we publish up to date. */
export function publish(context: Context): void {
  const { state } = context;
  const powerOn: PowerOnEntry[] = [];
  for (const {
    vmId,
    epoch,
    attempt,
    phase,
    paused,
    standbyCondition: standby,
    storeFull,
    debugged,
  } of state.local.values()) {
    if (phase === 'starting') powerOn.push({ vmId, epoch, attempt, state: 'starting' });
    else if (phase === 'running')
      powerOn.push({
        ...{ vmId, epoch, attempt, state: paused ? 'paused' : 'running' },
        ...(standby === undefined ? {} : { standby }),
        ...(storeFull ? { storeFull } : {}),
        ...(debugged ? { debugged } : {}),
      });
    else if (phase === 'leaving' || phase === 'stopping')
      powerOn.push({ vmId, epoch, attempt, state: 'leaving' });
  }
  if (!samePowerOn(powerOn, state.view.powerOn)) changeView(context, { powerOn });
  // A report stands until the list has answered it.
  const open = state.view.reports.filter(({ vmId, attempt }) => {
    const vm = vmOf(state.list, vmId);
    return vm?.assignment?.attempt === attempt && vm.assignment.node === state.id;
  });
  if (open.length < state.view.reports.length) changeView(context, { reports: open });
}

const powerOnFields = ['vmId', 'epoch', 'attempt', 'state', 'standby', 'storeFull', 'debugged'] as const;

function samePowerOn(a: readonly PowerOnEntry[], b: readonly PowerOnEntry[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((x, i) => {
    const y = b[i]!;
    return powerOnFields.every((field) => x[field] === y[field]);
  });
}
