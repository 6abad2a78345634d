/** Looks into a chosen moment: its screen, registers, code, memory, processes, and what changed since another one. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ListedCheckpoint } from '@revenant/cluster/protocol';
import type { InspectorClient } from '../inspect/inspector-client.ts';
import type { Changes } from '../inspect/messages.ts';
import { checkpointAddress } from '../shared/node-files.ts';
import type { Connection } from './connection.ts';
import { Code, Linux, Memory, Registers, useAnswer, Waiting, type LookProps } from './looks.tsx';
import { PastScreen } from './moment-card.tsx';
import { PageMap } from './page-map.tsx';
import { clock } from './text.ts';

const tabs = ['Screen', 'Registers', 'Code', 'Memory', 'Processes', 'Changes'] as const;
type Tab = (typeof tabs)[number];

function ChangeParts({ changes, before }: { changes: Changes; before: string }) {
  return (
    <>
      {changes.maps.map((map) => (
        <PageMap
          key={map.space}
          map={map}
          label={`pages of ${map.space}, and which changed since ${before}`}
        />
      ))}
      <div class="scroll kept" tabIndex={0} role="group" aria-label="what changed in processors and devices">
        <table>
          <thead>
            <tr>
              <th>Field</th>
              <th>Before</th>
              <th>After</th>
            </tr>
          </thead>
          <tbody>
            {changes.fields.map(({ path, before: was, after }) => (
              <tr key={path}>
                <td>{path}</td>
                <td class="mono">{was}</td>
                <td class="mono">{after}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {changes.left > 0 && <p class="quiet">and {changes.left} more</p>}
      </div>
    </>
  );
}

function Differences({
  inspector,
  address,
  vmId,
  id,
  others,
}: LookProps & { vmId: string; id: string; others: readonly ListedCheckpoint[] }) {
  const usual =
    others.findLast(
      (other) => other.id !== id && (other.atMs ?? 0) <= (others.find((each) => each.id === id)?.atMs ?? 0),
    )?.id ??
    others[0]?.id ??
    '';
  const [chosen, setChosen] = useState<string>();
  const before = chosen ?? usual;
  const beforeAddress = checkpointAddress(vmId, before);
  const answered = useAnswer(`${address} ${before}`, () =>
    inspector.ask('changes', { address, before, beforeAddress }),
  );
  return (
    <>
      <label>
        Since{' '}
        <select value={before} onChange={(event) => setChosen(event.currentTarget.value)}>
          {others.map((other) => (
            <option key={other.id} value={other.id}>
              {other.id} {other.atMs === undefined ? '' : clock(other.atMs)}
            </option>
          ))}
        </select>
      </label>
      <Waiting answered={answered}>
        {answered.value !== undefined && <ChangeParts changes={answered.value} before={before} />}
      </Waiting>
    </>
  );
}

export interface MomentViewProps {
  connection: Connection;
  inspector: InspectorClient;
  vmId: string;
  id: string;
  checkpoints: readonly ListedCheckpoint[];
  /** What else can be done with it. */
  children: ComponentChildren;
  close: () => void;
}

export function MomentView({
  connection,
  inspector,
  vmId,
  id,
  checkpoints,
  children,
  close,
}: MomentViewProps) {
  const [tab, setTab] = useState<Tab>('Screen');
  const address = checkpointAddress(vmId, id);
  const checkpoint = checkpoints.find((each) => each.id === id);
  const look = { inspector, address };
  return (
    <section class="panel moment" aria-label={`moment ${id} of ${vmId}`}>
      <div class="heading">
        <h2>Moment {id}</h2>
        <span class="quiet">
          {checkpoint?.atMs === undefined ? 'no longer kept' : clock(checkpoint.atMs)}
          {checkpoint?.instructions === undefined
            ? ''
            : ` · instruction ${Number(checkpoint.instructions).toLocaleString('en')}`}
        </span>
        <span class="grow" />
        {children}
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
      <div class="tabs" role="group" aria-label="what to look at">
        {tabs.map((name) => (
          <button key={name} type="button" aria-pressed={tab === name} onClick={() => setTab(name)}>
            {name}
          </button>
        ))}
      </div>
      {tab === 'Screen' && <PastScreen {...{ connection, vmId, id }} />}
      {tab === 'Registers' && <Registers {...look} />}
      {tab === 'Code' && <Code {...look} />}
      {tab === 'Memory' && <Memory {...look} />}
      {tab === 'Processes' && <Linux {...look} />}
      {tab === 'Changes' && <Differences {...look} vmId={vmId} id={id} others={checkpoints} />}
    </section>
  );
}
