/** How a command finds its cluster: options, environment, and what errors of the cluster become here. */
import { readFileSync } from 'node:fs';
import { ClusterClient, ClusterError, isClusterError, type ClusterErrorCode } from '@revenant/cluster';
import { StorageError, StoreError } from '@revenant/storage';
import { CliError, ExitCode, messageOf } from '../errors.ts';

/** Options of every command that speaks with a cluster, for parseArgs. */
export const connectOptions = {
  node: { type: 'string', multiple: true },
  store: { type: 'string' },
  'token-file': { type: 'string' },
  json: { type: 'boolean', default: false },
} as const;

export const connectHelp = `  --node HOST:PORT         a node of the cluster; may be given several times (or REVENANT_NODE)
  --store URL              the store of the cluster, whose records tell where its nodes are (or REVENANT_STORE)
  --token-file FILE        the cluster's token, where it has one (or REVENANT_TOKEN_FILE)
  --json                   output for programs`;

export interface ConnectValues {
  node?: string[];
  store?: string;
  'token-file'?: string;
}

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

/** A client of the cluster that was named. Throws CliError when none was. */
export function connect(values: ConnectValues): ClusterClient {
  const nodes = values.node ?? process.env['REVENANT_NODE']?.split(',');
  const store = chosenStore(values);
  if (nodes === undefined && store === undefined)
    throw new CliError(
      ExitCode.usage,
      'no cluster was named',
      'give --node HOST:PORT or --store URL, or set REVENANT_NODE or REVENANT_STORE',
    );
  const tokenFile = values['token-file'] ?? process.env['REVENANT_TOKEN_FILE'];
  return new ClusterClient({
    ...(nodes === undefined ? {} : { nodes }),
    ...(store === undefined ? {} : { store }),
    ...(tokenFile === undefined ? {} : { token: readToken(tokenFile) }),
  });
}

const exitCodes: Partial<Record<ClusterErrorCode, ExitCode>> = {
  BAD_REQUEST: ExitCode.usage,
  BAD_SETTINGS: ExitCode.usage,
  NOT_FOUND: ExitCode.refused,
  CONFLICT: ExitCode.refused,
  NO_CAPACITY: ExitCode.refused,
  UNAUTHORIZED: ExitCode.refused,
  NAME_IN_USE: ExitCode.refused,
  NO_MASTER: ExitCode.unreachable,
  TIMEOUT: ExitCode.unreachable,
  UNREACHABLE: ExitCode.unreachable,
  STORE: ExitCode.unreachable,
};

/** Errors of cluster and store as one line with an exit code; others as they are. */
export function clusterFailure(error: unknown): unknown {
  if (error instanceof ClusterError)
    return new CliError(exitCodes[error.code] ?? ExitCode.internal, error.message, error.hint, error);
  if (error instanceof StoreError)
    return new CliError(ExitCode.unreachable, error.message, error.hint, error);
  if (error instanceof StorageError) return new CliError(ExitCode.badInput, error.message, error.hint, error);
  return error;
}

/** Runs `act` with a client and closes it. Throws CliError. */
export async function withCluster<T>(
  values: ConnectValues,
  act: (client: ClusterClient) => Promise<T>,
): Promise<T> {
  const client = connect(values);
  try {
    return await act(client);
  } catch (error) {
    throw clusterFailure(error);
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
    process.stderr.write('revenant: no node answers; this is what the store holds\n');
    return answer;
  }
}

/** For commands that went into the store, as no node answered. */
export const storedNote = 'no node is running: stored, and takes effect when one starts';
