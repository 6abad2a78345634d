/** How a command finds its cluster: options, environment, and what errors of the cluster become here. */
import { readFileSync } from 'node:fs';
import { ClusterClient, isClusterError, trustAuthority, type ClusterStatus } from '@revenant/cluster/client';
import { jsonOption, list, text, type Options, type Values } from '../command/options.ts';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { say } from '../output/print.ts';

/** Options of every command that speaks with a cluster. */
export const connectOptions = {
  node: list(
    'HOST:PORT',
    'a node of the cluster (https://HOST:PORT where it speaks TLS); may be given several times (or REVENANT_NODE)',
  ),
  store: text('URL', 'the store of the cluster, whose records tell where its nodes are (or REVENANT_STORE)'),
  'token-file': text(
    'FILE',
    "the cluster's token, or one's own of the people file, where it has one (or REVENANT_TOKEN_FILE)",
  ),
  'tls-ca': text(
    'FILE',
    `certificates of the authority that signed those of the nodes, where the installation has its own (or
REVENANT_TLS_CA)`,
  ),
  json: jsonOption,
} satisfies Options;

export type ConnectValues = Values<typeof connectOptions>;

/** The store that was named, by option or environment. */
export function chosenStore(values: ConnectValues): string | undefined {
  return values.store ?? process.env['REVENANT_STORE'];
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CliError(
      ExitCode.badInput,
      `--token-file: can't read '${path}': ${messageOf(error)}`,
      'check the path',
    );
  }
}

/** Throws CliError for what is no `HOST:PORT`, whose request would go to whoever listens at a browser's port. */
function requireAddress(node: string): void {
  const [, host, port] = /^(?:https:\/\/)?(\[[0-9a-f:.]+\]|[^:/\s]+):(\d{1,5})$/i.exec(node) ?? [];
  if (host !== undefined && Number(port) > 0 && Number(port) < 65_536) return;
  throw new CliError(
    ExitCode.usage,
    `${JSON.stringify(node)} is no address of a node`,
    'write HOST:PORT, as in 127.0.0.1:7001; https://HOST:PORT where it speaks TLS',
  );
}

/** A client of the cluster that was named, whose nodes have so long for an answer. Throws CliError when none was. */
export function connect(values: ConnectValues, answerMs?: number): ClusterClient {
  const nodes = values.node.length > 0 ? values.node : process.env['REVENANT_NODE']?.split(',');
  const store = chosenStore(values);
  for (const node of nodes ?? []) requireAddress(node);
  if (nodes === undefined && store === undefined)
    throw new CliError(
      ExitCode.usage,
      'no cluster was named',
      'give --node HOST:PORT or --store URL, or set REVENANT_NODE or REVENANT_STORE',
    );
  const authority = values['tls-ca'] ?? process.env['REVENANT_TLS_CA'];
  if (authority !== undefined) trustAuthority(authority);
  const tokenFile = values['token-file'] ?? process.env['REVENANT_TOKEN_FILE'];
  return new ClusterClient({
    ...(answerMs === undefined ? {} : { answerMs }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(store === undefined ? {} : { store }),
    ...(tokenFile === undefined ? {} : { token: readToken(tokenFile) }),
  });
}

/** Runs `act` with a client and closes it. */
export async function withCluster<T>(
  values: ConnectValues,
  act: (client: ClusterClient) => Promise<T>,
  answerMs?: number,
): Promise<T> {
  const client = connect(values, answerMs);
  try {
    return await act(client);
  } finally {
    await client.close();
  }
}

/** What `ask` gives; or, when no node answers and a store was named, what the store gives, having said so on stderr. */
export async function orStored<T>(
  values: ConnectValues,
  ask: () => Promise<T>,
  stored: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isClusterError(error, 'UNREACHABLE') || chosenStore(values) === undefined) throw error;
    const answer = await stored();
    say('no node answers; this is what the store holds');
    return answer;
  }
}

/** For commands that went into the store, as no node answered. */
export const storedNote = 'no node is running: stored, and takes effect when one starts';

/** The cluster as a node sees it, or else as the store has it. */
export function askStatus(client: ClusterClient, values: ConnectValues): Promise<ClusterStatus> {
  return orStored(
    values,
    () => client.status(),
    () => client.storedStatus(),
  );
}
