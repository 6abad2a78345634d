/** A stretch of a VM's past that is run again in the page: its screen, what it says, registers, code and memory at the moment where it stands. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { InspectorClient } from '../inspect/inspector-client.ts';
import { replayedFrom, type Replayed } from '../inspect/messages.ts';
import { checkpointAddress } from '../shared/node-files.ts';
import { drawPicture } from '../shared/screen-canvas.tsx';
import type { Connection } from './connection.ts';
import { Code, Linux, Memory, Registers, useAnswer, Waiting } from './looks.tsx';
import type { Stretch } from './timeline-model.ts';
import { textOf } from './use-action.tsx';

const tabs = ['Screen', 'Serial', 'Registers', 'Code', 'Memory', 'Processes'] as const;
type Tab = (typeof tabs)[number];
/** How far the buttons go, in milliseconds. */
const leaps = [-1000, -100, 100, 1000];

const seconds = (ms: number): string => (ms / 1000).toFixed(3);

function Screen({ picture, label }: { picture: Replayed['picture']; label: string }) {
  const place = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (picture !== undefined && place.current !== null) drawPicture(place.current, picture);
  }, [picture]);
  if (picture === undefined) return <p class="quiet">it has no display</p>;
  return <canvas ref={place} class="past" width={720} height={400} role="img" aria-label={label} />;
}

/** Where to: leaps, or a time that a person types. */
function Goes({ at, go }: { at: number; go: (ms: number) => void }) {
  return (
    <form
      class="inline"
      aria-label="go to another moment"
      onSubmit={(event) => {
        event.preventDefault();
        go(Number(textOf(new FormData(event.currentTarget), 'to')) * 1000);
      }}
    >
      {leaps.map((ms) => (
        <button key={ms} type="button" onClick={() => go(Math.max(0, at + ms))}>
          {ms > 0 ? '+' : '−'}
          {Math.abs(ms) / 1000} s
        </button>
      ))}
      <label>
        to <input type="number" name="to" min={0} step="any" key={at} defaultValue={seconds(at)} size={12} />{' '}
        s
      </label>
      <button type="submit">Go</button>
    </form>
  );
}

function Look({
  tab,
  here,
  label,
  inspector,
  address,
}: {
  tab: Tab;
  here: Replayed;
  label: string;
  inspector: InspectorClient;
  address: string;
}) {
  const look = { inspector, address };
  switch (tab) {
    case 'Screen':
      return <Screen picture={here.picture} label={`screen of ${label}`} />;
    case 'Serial':
      return (
        <pre class="dump" tabIndex={0} role="group" aria-label={`serial output of ${label}`}>
          {here.serial}
        </pre>
      );
    case 'Registers':
      return <Registers {...look} />;
    case 'Code':
      return <Code {...look} />;
    case 'Memory':
      return <Memory {...look} />;
    case 'Processes':
      return <Linux {...look} />;
  }
}

export interface ReplayViewProps {
  connection: Connection;
  inspector: InspectorClient;
  vmId: string;
  stretch: Stretch;
  go: (stretch: Stretch) => void;
  close: () => void;
}

export function ReplayView({ connection, inspector, vmId, stretch, go, close }: ReplayViewProps) {
  const [tab, setTab] = useState<Tab>('Screen');
  const { from, toMs } = stretch;
  const address = checkpointAddress(vmId, from);
  const answered = useAnswer(`${address} ${String(toMs)}`, (said) =>
    inspector.ask('replay', { address, node: connection.access, toMs }, (at, of) =>
      said(`replaying: at ${seconds(at)} s of ${seconds(of)} s`),
    ),
  );
  const here = answered.value;
  const label = `the replay of ${vmId}`;
  return (
    <section class="panel moment" aria-label={`replay of ${vmId} from ${from}`}>
      <div class="heading">
        <h2>Replay from {from}</h2>
        <span class="quiet" role="status" aria-label={`where ${label} stands`}>
          {here === undefined
            ? ''
            : `${seconds(here.virtualMs)} s of its own time · instruction ${Number(here.instructions).toLocaleString('en')}${here.ended === '' ? '' : ` · ${here.ended}`}`}
        </span>
        <span class="grow" />
        <Goes at={here?.virtualMs ?? toMs} go={(ms) => go({ from, toMs: ms })} />
        <button type="button" onClick={close}>
          Close the replay
        </button>
      </div>
      <div class="tabs" role="group" aria-label="what to look at in the replay">
        {tabs.map((name) => (
          <button key={name} type="button" aria-pressed={tab === name} onClick={() => setTab(name)}>
            {name}
          </button>
        ))}
      </div>
      <Waiting answered={answered}>
        {here !== undefined && (
          <Look {...{ tab, here, label, inspector }} address={replayedFrom(address, here.instructions)} />
        )}
      </Waiting>
    </section>
  );
}
