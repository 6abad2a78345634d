/** Ways to look into a machine that stands still, a checkpoint or a replayed moment: what the worker answers, as text and tables. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { InspectorClient } from '../inspect/inspector-client.ts';
import type { CodeLine, LinuxFound } from '../inspect/messages.ts';

/** What a question came to: undefined while it is open. */
interface Answered<T> {
  value?: T;
  error?: string;
  progress?: string;
}

/** Asks again whenever `key` changes. */
export function useAnswer<T>(
  key: string,
  ask: (progress: (said: string) => void) => Promise<T>,
): Answered<T> {
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

export function Waiting({
  answered,
  children,
}: {
  answered: Answered<unknown>;
  children: ComponentChildren;
}) {
  if (answered.error !== undefined) return <p class="error">{answered.error}</p>;
  if (answered.value === undefined) return <p class="quiet">{answered.progress ?? 'reading…'}</p>;
  return <>{children}</>;
}

export interface LookProps {
  inspector: InspectorClient;
  address: string;
}

export function Registers({ inspector, address }: LookProps) {
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

export function Code({ inspector, address }: LookProps) {
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

export function Memory({ inspector, address }: LookProps) {
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

export function Linux({ inspector, address }: LookProps) {
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
