/** One VM: its console or screen, what happened to it, and its past. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { InspectorClient } from '../inspect/inspector-client.ts';
import type { VmSeen } from '@revenant/cluster/protocol';
import { TerminalView } from '../shared/terminal.tsx';
import { CheckpointList } from './checkpoint-list.tsx';
import type { ClusterState, Connection, Past } from './connection.ts';
import { EventList } from './events.tsx';
import { Figures } from './figures.tsx';
import { ForkFrom } from './fork-from.tsx';
import { hasMedia, Media } from './media.tsx';
import { MomentView } from './moment-view.tsx';
import { ReplayView } from './replay-view.tsx';
import { ScreenView } from './screen.tsx';
import { Snapshots } from './snapshots.tsx';
import { Timeline } from './timeline.tsx';
import type { Stretch } from './timeline-model.ts';
import { VmActions } from './vm-actions.tsx';
import { VmSettings } from './vm-settings.tsx';
import { placeOf, statusOf, vmTone } from './text.ts';

const ctrlAltDelete = ['ControlLeft', 'AltLeft', 'Delete'];
const nothing: Past = { checkpoints: [], snapshots: [], samples: [] };

function State({ vm, state, vmId }: { vm: VmSeen | undefined; state: ClusterState; vmId: string }) {
  const place = vm === undefined || state.status === undefined ? undefined : placeOf(state.status, vm);
  const tone = vm === undefined ? 'quiet' : vmTone(statusOf(vm).status);
  return (
    <span class={`tone ${tone}`} role="status" aria-label={`state of ${vmId}`}>
      {vm === undefined
        ? 'it is gone'
        : `${vm.status}${place === undefined ? '' : ` on ${place.node}, epoch ${String(place.epoch)}`}`}
    </span>
  );
}

/** Where one sits before it: its console or its screen. */
function Seat({
  connection,
  origin,
  vmId,
  mayOpen,
}: {
  connection: Connection;
  origin: string;
  vmId: string;
  mayOpen: boolean;
}) {
  const [tab, setTab] = useState<'console' | 'screen'>('console');
  const line = useMemo(() => connection.console(vmId), [connection, vmId]);
  return (
    <section class="panel seat" aria-label={`console and screen of ${vmId}`}>
      <div class="heading">
        <span class="choices" role="group" aria-label="what is shown">
          <button type="button" aria-pressed={tab === 'console'} onClick={() => setTab('console')}>
            Console
          </button>
          <button type="button" aria-pressed={tab === 'screen'} onClick={() => setTab('screen')}>
            Screen
          </button>
        </span>
        <span class="grow" />
        {mayOpen && (
          <a href={`${origin}/run.html#open=${encodeURIComponent(vmId)}`} target="_blank" rel="noopener">
            Open its newest checkpoint in a tab
          </a>
        )}
        <button type="button" disabled={!mayOpen} onClick={() => void connection.press(vmId, ctrlAltDelete)}>
          Ctrl-Alt-Del
        </button>
      </div>
      {tab === 'console' ? (
        <TerminalView line={line} label={`serial console of ${vmId}`} />
      ) : (
        <ScreenView connection={connection} vmId={vmId} mayType={mayOpen} />
      )}
    </section>
  );
}

export { InspectorClient };

interface VmViewProps {
  state: ClusterState;
  connection: Connection;
  inspector: InspectorClient;
  vmId: string;
  leave: () => void;
}

export function VmView({ state, connection, inspector, vmId, leave }: VmViewProps) {
  const [past, setPast] = useState(nothing);
  const [chosen, setChosen] = useState('');
  const [stretch, setStretch] = useState<Stretch>();
  useEffect(() => connection.watchPast(vmId, setPast), [connection, vmId]);
  const events = useMemo(() => state.events.filter((event) => event.vm === vmId), [state.events, vmId]);
  const vm = state.status?.vms.find(({ id }) => id === vmId);
  const mayOpen = state.role !== 'view';
  const time = { connection, vmId, checkpoints: past.checkpoints, chosen, choose: setChosen };
  return (
    <>
      <section class="bar" aria-label={`what ${vmId} is and can do`}>
        <button type="button" onClick={leave}>
          ← All VMs
        </button>
        <h2>{vmId}</h2>
        <State {...{ vm, state, vmId }} />
        <span class="grow" />
        {vm !== undefined && <VmActions vm={vm} state={state} connection={connection} />}
        {vm !== undefined && hasMedia(vm) && <Media {...{ vm, connection }} may={mayOpen} />}
        {vm !== undefined && state.role === 'admin' && (
          <ForkFrom {...{ connection, vmId }} of={`the newest checkpoint of ${vmId}`} />
        )}
      </section>
      <main class="guest">
        <Seat {...{ connection, vmId, mayOpen }} origin={state.origin} />
        <section class="panel happened" aria-label={`events of ${vmId}`}>
          <h2>What happened</h2>
          <EventList events={events} />
        </section>
        <Timeline {...time} events={events} replay={mayOpen ? setStretch : undefined} />
        {stretch !== undefined && (
          <ReplayView
            {...{ connection, inspector, vmId, stretch }}
            go={setStretch}
            close={() => setStretch(undefined)}
          />
        )}
        {chosen !== '' && (
          <MomentView
            {...{ connection, inspector, vmId, checkpoints: past.checkpoints }}
            id={chosen}
            close={() => setChosen('')}
          >
            {mayOpen && (
              <a
                href={`${state.origin}/run.html#open=${encodeURIComponent(vmId)}@${chosen}`}
                target="_blank"
                rel="noopener"
              >
                Open in a tab
              </a>
            )}
            {state.role === 'admin' && <ForkFrom {...{ connection, vmId }} checkpoint={chosen} />}
          </MomentView>
        )}
        {vm !== undefined && state.status !== undefined && (
          <Snapshots
            {...{ vm, connection, status: state.status, snapshots: past.snapshots }}
            may={mayOpen}
            admin={state.role === 'admin'}
          />
        )}
        {vm !== undefined && <VmSettings {...{ vm, connection }} admin={state.role === 'admin'} />}
        <Figures vmId={vmId} samples={past.samples} />
        <CheckpointList {...time} origin={state.origin} mayOpen={mayOpen} />
      </main>
    </>
  );
}
