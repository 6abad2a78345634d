/** Looks into a chosen moment: its screen, registers, code, memory, processes, and what changed since another one. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ListedCheckpoint } from '@revenant/cluster/protocol';
import type { InspectorClient } from '../inspect/inspector-client.ts';
import type { Changes, CodeLine, LinuxFound } from '../inspect/messages.ts';
import { checkpointAddress } from '../shared/node-files.ts';
import type { Connection } from './connection.ts';
import { PastScreen } from './moment-card.tsx';
import { PageMap } from './page-map.tsx';
import { clock } from './text.ts';

const tabs = ['Screen', 'Registers', 'Code', 'Memory', 'Processes', 'Changes'] as const;
type Tab = (typeof tabs)[number];

/** What a question came to: undefined while it is open. */
interface Answered<T> {
  value?: T;
  error?: string;
  progress?: string;
}

/** Asks again whenever `key` changes. */
function useAnswer<T>(key: string, ask: (progress: (said: string) => void) => Promise<T>): Answered<T> {
  const [answered, setAnswered] = useState<Answered<T>>({});
  useEffect(() => {
    let over = false;
    setAnswered({});
    const tell = (now: Answered<T>): void => {
      if (!over) setAnswered(now);
    };
    ask((progress) => tell({ progress })).then(
      (value) => tell({ value }),
      (problem: unknown) => tell({ error: problem instanceof Error ? problem.message : String(problem) }),
    );
    return () => {
      over = true;
    };
  }, [key]);
  return answered;
}

function Waiting({ answered, children }: { answered: Answered<unknown>; children: ComponentChildren }) {
  if (answered.error !== undefined) return <p class="error">{answered.error}</p>;
  if (answered.value === undefined) return <p class="quiet">{answered.progress ?? 'reading…'}</p>;
  return <>{children}</>;
}

interface LookProps {
  inspector: InspectorClient;
  address: string;
}

function Registers({ inspector, address }: LookProps) {
  const answered = useAnswer(address, () => inspector.ask('registers', { address }));
  return (
    <Waiting answered={answered}>
      <pre class="dump" tabIndex={0} role="group" aria-label="registers">
        {answered.value}
      </pre>
    </Waiting>
  );
}

/** A place in memory that a person types. */
function AddressForm({ label, go }: { label: string; go: (at: string) => void }) {
  return (
    <form
      class="tools"
      onSubmit={(event) => {
        event.preventDefault();
        const at = new FormData(event.currentTarget).get('at');
        go(typeof at === 'string' ? at : '');
      }}
    >
      <label>
        {label} <input type="text" name="at" placeholder="0x…" size={20} />
      </label>
      <button type="submit">Go</button>
    </form>
  );
}

const codeText = (lines: readonly CodeLine[]): string =>
  lines
    .map(({ address, bytes, text, here }) => `${here ? '>' : ' '} ${address}  ${bytes.padEnd(22)}  ${text}`)
    .join('\n');

function Code({ inspector, address }: LookProps) {
  const [at, setAt] = useState('');
  const answered = useAnswer(`${address} ${at}`, () => inspector.ask('code', { address, at }));
  return (
    <>
      <AddressForm label="Address (empty: where the processor stands)" go={setAt} />
      <Waiting answered={answered}>
        <pre class="dump" tabIndex={0} role="group" aria-label="instructions">
          {codeText(answered.value ?? [])}
        </pre>
      </Waiting>
    </>
  );
}

function Memory({ inspector, address }: LookProps) {
  const [at, setAt] = useState('');
  const answered = useAnswer(`${address} ${at}`, () => inspector.ask('memory', { address, at }));
  return (
    <>
      <AddressForm label="Linear address (empty: the stack)" go={setAt} />
      <Waiting answered={answered}>
        <pre class="dump" tabIndex={0} role="group" aria-label="bytes of memory">
          {answered.value}
        </pre>
      </Waiting>
    </>
  );
}

function LinuxParts({ banner, commandLine, processes, log }: LinuxFound) {
  return (
    <>
      <p>{banner}</p>
      <p class="quiet">{commandLine}</p>
      <div class="halves">
        {typeof processes === 'string' ? (
          <p class="quiet">no processes: {processes}</p>
        ) : (
          <div class="scroll kept" tabIndex={0} role="group" aria-label="processes">
            <table>
              <thead>
                <tr>
                  <th class="number">PID</th>
                  <th class="number">Parent</th>
                  <th>State</th>
                  <th>Name</th>
                </tr>
              </thead>
              <tbody>
                {processes.map(({ pid, parent, state, kernel, name }) => (
                  <tr key={pid}>
                    <td class="number">{pid}</td>
                    <td class="number">{parent ?? '?'}</td>
                    <td>{state}</td>
                    <td class={kernel ? 'quiet' : ''}>{kernel ? `[${name}]` : name}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <pre class="dump" tabIndex={0} role="group" aria-label="kernel log">
          {typeof log === 'string' ? `no kernel log: ${log}` : log.join('\n')}
        </pre>
      </div>
    </>
  );
}

function Linux({ inspector, address }: LookProps) {
  const answered = useAnswer(address, (said) =>
    inspector.ask('linux', { address }, (done, of) =>
      said(
        `looking for a Linux kernel: ${String(Math.round((100 * done) / Math.max(1, of)))} % of its memory`,
      ),
    ),
  );
  return (
    <Waiting answered={answered}>
      {answered.value !== undefined && <LinuxParts {...answered.value} />}
    </Waiting>
  );
}

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
  const usual = others.findLast((other) => other.id !== id && (other.atMs ?? 0) <= (others.find((each) => each.id === id)?.atMs ?? 0))?.id ?? others[0]?.id ?? ''; // prettier-ignore
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
