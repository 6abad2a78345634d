/** `run.html`: a guest in this tab, with its serial console and its screen. Needs no cluster. */
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import '../shared/style.css';
import { ScreenCanvas } from '../shared/screen-canvas.tsx';
import { TerminalView } from '../shared/terminal.tsx';
import { GuestClient, type GuestView } from './guest-client.ts';
import { pressTogether, ScreenTools } from '../shared/screen-tools.tsx';
import { GuestForm, type Choice } from './guest-form.tsx';

const ctrlAltDelete = ['ControlLeft', 'AltLeft', 'Delete'];

function statusText({ state, reason, progress, speed }: GuestView): string {
  if (state === 'ended') return `ended: ${reason ?? ''}`;
  if (progress === undefined) return state;
  const seconds = (Number(progress.timeNs) / 1e9).toFixed(1);
  return `${state} · ${seconds} s of its own time · ${(speed ?? 0).toFixed(0)} million instructions a second`;
}

function GuestPage({ choice, leave }: { choice: Choice; leave: () => void }) {
  const [view, setView] = useState<GuestView>({ state: 'loading' });
  const guest = useRef<GuestClient>(undefined);
  guest.current ??= new GuestClient(choice.request, choice.engine, setView);
  const client = guest.current;
  const place = useRef<HTMLDivElement>(null);
  useEffect(
    () => () => {
      client.close();
    },
    [client],
  );
  const live = view.state === 'running' || view.state === 'paused';
  return (
    <>
      <header class="bar">
        <h1>{choice.title}</h1>
        <span class="quiet" role="status">
          {statusText(view)}
        </span>
        <span class="grow" />
        <button type="button" disabled={!live} onClick={() => client.pause(view.state === 'running')}>
          {view.state === 'paused' ? 'Go on' : 'Pause'}
        </button>
        <button type="button" disabled={!live} onClick={() => pressTogether(client, ctrlAltDelete)}>
          Ctrl-Alt-Del
        </button>
        <button type="button" disabled={!live} onClick={() => client.powerButton()}>
          Power button
        </button>
        <button type="button" disabled={!live} onClick={() => client.reset()}>
          Reset
        </button>
        <button type="button" onClick={leave}>
          Close
        </button>
      </header>
      <main class="guest">
        <TerminalView line={client} label={`serial console of ${choice.title}`} />
        {view.hasScreen === true && (
          <div>
            <div ref={place}>
              <ScreenCanvas display={client} label={`screen of ${choice.title}`} />
            </div>
            <ScreenTools
              display={client}
              place={place}
              label={`screen of ${choice.title}`}
              disabled={!live}
              said=""
            />
          </div>
        )}
      </main>
    </>
  );
}

/**
 * `#open=VM@EPOCH-SEQUENCE` or `#open=VM` (its newest), with `&engine=interpreter` if so wanted: a checkpoint of the cluster whose node serves
 * this page.
 */
function choiceOfAddress(): Choice | undefined {
  const words = new URLSearchParams(location.hash.slice(1));
  const [, vmId, which = 'latest'] = /^([^@/]+?)(?:@(\d+-\d+|latest))?$/.exec(words.get('open') ?? '') ?? [];
  if (vmId === undefined) return undefined;
  return {
    request: { kind: 'remote', address: `/v1/vms/${encodeURIComponent(vmId)}/checkpoints/${which}` },
    engine: words.get('engine') === 'interpreter' ? 'interpreter' : 'translator',
    title: `${vmId}@${which}, detached`,
  };
}

function App() {
  const [choice, setChoice] = useState(choiceOfAddress);
  if (!crossOriginIsolated)
    return (
      <main>
        <p class="error">
          This page needs shared memory, which browsers give only to isolated pages: serve it with{' '}
          <code>revenant page</code>, or with the headers Cross-Origin-Opener-Policy: same-origin and
          Cross-Origin-Embedder-Policy: require-corp.
        </p>
      </main>
    );
  if (choice !== undefined)
    return (
      <GuestPage
        choice={choice}
        leave={() => {
          setChoice(undefined);
        }}
      />
    );
  return (
    <>
      <header class="bar">
        <h1>Revenant</h1>
        <span class="quiet">whole x86 PCs, in this tab</span>
      </header>
      <main>
        <GuestForm start={setChoice} />
      </main>
    </>
  );
}

render(<App />, document.getElementById('app')!);
