/** One VM: its console, its screen, what happened to it. */
import { useMemo, useState } from 'preact/hooks';
import { TerminalView } from '../shared/terminal.tsx';
import type { ClusterState, Connection } from './connection.ts';
import { EventList } from './events.tsx';
import { ScreenView } from './screen.tsx';
import { Timeline } from './timeline.tsx';
import { VmActions } from './vm-actions.tsx';
import { placeOf } from './text.ts';

const ctrlAltDelete = ['ControlLeft', 'AltLeft', 'Delete'];

export function VmView({
  state,
  connection,
  vmId,
  leave,
}: {
  state: ClusterState;
  connection: Connection;
  vmId: string;
  leave: () => void;
}) {
  const [tab, setTab] = useState<'console' | 'screen'>('console');
  const line = useMemo(() => connection.console(vmId), [connection, vmId]);
  const vm = state.status?.vms.find(({ id }) => id === vmId);
  const place = vm === undefined || state.status === undefined ? undefined : placeOf(state.status, vm);
  return (
    <>
      <section class="bar" aria-label={`what ${vmId} is and can do`}>
        <button type="button" onClick={leave}>
          All VMs
        </button>
        <h2>{vmId}</h2>
        <span class="quiet" role="status" aria-label={`state of ${vmId}`}>
          {vm === undefined
            ? 'it is gone'
            : `${vm.status}${place === undefined ? '' : ` on ${place.node}, epoch ${String(place.epoch)}`}`}
        </span>
        <span class="grow" />
        <button type="button" aria-pressed={tab === 'console'} onClick={() => setTab('console')}>
          Console
        </button>
        <button type="button" aria-pressed={tab === 'screen'} onClick={() => setTab('screen')}>
          Screen
        </button>
        {state.role !== 'view' && (
          <a href={`run.html#open=${encodeURIComponent(vmId)}`} target="_blank" rel="noopener">
            Open its newest checkpoint in a tab
          </a>
        )}
        <button
          type="button"
          disabled={state.role === 'view'}
          onClick={() => void connection.press(vmId, ctrlAltDelete)}
        >
          Ctrl-Alt-Del
        </button>
        {vm !== undefined && <VmActions vm={vm} state={state} connection={connection} />}
      </section>
      <main class="guest">
        {tab === 'console' ? (
          <TerminalView line={line} label={`serial console of ${vmId}`} />
        ) : (
          <ScreenView connection={connection} vmId={vmId} />
        )}
        <Timeline vmId={vmId} mayOpen={state.role !== 'view'} />
        <section class="panel" aria-label={`events of ${vmId}`}>
          <h2>What happened</h2>
          <EventList events={state.events.filter((event) => event.vm === vmId)} />
        </section>
      </main>
    </>
  );
}
