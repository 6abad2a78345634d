/** `index.html`: the cluster, served by each of its nodes. */
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import '../shared/style.css';
import { ClusterView } from './cluster-view.tsx';
import { bytesOf } from '../shared/node-files.ts';
import type * as vmView from './vm-view.tsx';
import { Connection, type ClusterState } from './connection.ts';
import { isTokenNeeded, logIn, logOut } from './login.ts';

const linkWords = {
  connecting: 'connecting…',
  open: '',
  lost: 'the node went away; looking for another…',
  refused: 'not logged in',
} as const;

function LogIn({ done }: { done: () => void }) {
  const [error, setError] = useState('');
  return (
    <form
      class="form panel"
      onSubmit={(event) => {
        event.preventDefault();
        const token = new FormData(event.currentTarget).get('token');
        logIn(typeof token === 'string' ? token : '').then(done, (problem: unknown) => {
          setError(problem instanceof Error ? problem.message : String(problem));
        });
      }}
    >
      <h2>Log in</h2>
      <label>
        Token of the cluster (the content of its token file)
        <input type="password" name="token" autocomplete="current-password" required />
      </label>
      <div>
        <button class="primary" type="submit">
          Log in
        </button>
      </div>
      <p class="error" role="alert">
        {error}
      </p>
    </form>
  );
}

/**
 * The view of one VM with its terminal and charts, which is most of the page: it comes once the cluster is shown, at once, as the node that has it
 * may be gone when a person wants it.
 */
function useVmView(
  connection: Connection,
): { VmView: typeof vmView.VmView; inspector: vmView.InspectorClient } | undefined {
  const [parts, setParts] = useState<{ VmView: typeof vmView.VmView; inspector: vmView.InspectorClient }>();
  useEffect(() => {
    let over = false;
    let inspector: vmView.InspectorClient | undefined;
    const begin = ({ VmView, InspectorClient }: typeof vmView): void => {
      if (over) return;
      inspector = new InspectorClient(async (path) => bytesOf(await connection.fetch(path)));
      setParts({ VmView, inspector });
    };
    const load = (): void => void import('./vm-view.tsx').then(begin, () => setTimeout(load, 1000));
    load();
    return () => {
      over = true;
      inspector?.close();
    };
  }, [connection]);
  return parts;
}

/**
 * Ends the session. Where the node that the page came from is gone nobody there can take its cookie back or let anybody in: the page is left for
 * that of the node that serves it now.
 */
async function leave(origin: string, loggedOut: () => void): Promise<void> {
  const isTaken = await logOut().then(
    () => true,
    () => false,
  );
  if (isTaken || origin === '') loggedOut();
  else location.assign(`${origin}/`);
}

function Cluster({ loggedOut }: { loggedOut: () => void }) {
  const [state, setState] = useState<ClusterState>({
    link: 'connecting',
    origin: '',
    role: 'view',
    events: [],
    figures: [],
  });
  const [vmId, setVmId] = useState<string>();
  const connection = useRef<Connection>(undefined);
  connection.current ??= new Connection(setState);
  const live = connection.current;
  const vmParts = useVmView(live);
  useEffect(
    () => () => {
      live.close();
    },
    [live],
  );
  useEffect(() => {
    if (state.link === 'refused') void isTokenNeeded().then((needed) => needed && loggedOut());
  }, [state.link, loggedOut]);
  return (
    <>
      <header class="bar">
        <h1>Revenant</h1>
        <span class="quiet" role="status" aria-label="connection">
          {state.link === 'open' ? `served by ${state.node ?? ''}` : linkWords[state.link]}
          {state.trouble === undefined ? '' : ` · ${state.trouble}`}
        </span>
        <span class="grow" />
        <span class="quiet" aria-label="role">
          {[state.name ?? '', state.role].filter((word) => word !== '').join(': ')}
        </span>
        <a href={`${state.origin}/run.html`}>Run a guest in this tab</a>
        <button type="button" onClick={() => void leave(state.origin, loggedOut)}>
          Log out
        </button>
      </header>
      {vmId === undefined ? (
        <ClusterView state={state} connection={live} open={setVmId} />
      ) : (
        vmParts !== undefined && (
          <vmParts.VmView
            {...{ state, vmId }}
            connection={live}
            inspector={vmParts.inspector}
            leave={() => setVmId(undefined)}
          />
        )
      )}
    </>
  );
}

/** Browsers give what proofs, sessions and guests in the tab need (Web Crypto, shared memory) to such pages only. */
function InsecureAddress() {
  return (
    <main>
      <p class="error" role="alert">
        This page can't work at {location.origin}: browsers keep what it needs for addresses that nobody on
        the way can change. Start the nodes with <code>--tls-cert</code> and <code>--tls-key</code> and use
        https, or come through a tunnel (
        <code>
          ssh -L {location.port}:{location.host} HOST
        </code>
        ) to 127.0.0.1.
      </p>
    </main>
  );
}

function App() {
  const [loggingIn, setLoggingIn] = useState(false);
  if (!isSecureContext) return <InsecureAddress />;
  if (loggingIn)
    return (
      <main>
        <LogIn done={() => setLoggingIn(false)} />
      </main>
    );
  return <Cluster loggedOut={() => setLoggingIn(true)} />;
}

render(<App />, document.getElementById('app')!);
