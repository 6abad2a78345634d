/** A node process: `node packages/cluster/src/node/main.ts --store URL --name N [--listen ADDR] [--profile fast] …` */
import { createSecureContext } from 'node:tls';
import { parseArgs } from 'node:util';
import { isStorageError, keyFromEnvironment, parseRetention, type RetentionPolicy } from '@revenant/storage';
import { readGiven, trustAuthority } from '../authority.ts';
import { makeSettings, type ProfileName } from '../decisions/settings.ts';
import { ClusterError, messageOf } from '../errors.ts';
import type { TlsFiles } from './api-server.ts';
import { parseLimits } from './api-limits.ts';
import { ClusterNode, type NodeOptions } from './cluster-node.ts';

/** What a node is told when it starts, as typed; `revenant node --help` says what each means. */
export interface NodeValues {
  store?: string | undefined;
  'heartbeat-store': readonly string[];
  name?: string | undefined;
  listen: string;
  profile: string;
  'token-file'?: string | undefined;
  'people-file'?: string | undefined;
  'tls-cert'?: string | undefined;
  'tls-key'?: string | undefined;
  'tls-ca'?: string | undefined;
  'memory-mib'?: number | undefined;
  'log-level': string;
  retention?: string | undefined;
  drills: boolean;
  limit?: readonly string[];
}

/** From the words with which another process of ours starts a node. */
export function nodeValues(words: string[]): NodeValues {
  const { values } = parseArgs({
    args: words,
    options: {
      store: { type: 'string' },
      'heartbeat-store': { type: 'string', multiple: true, default: [] },
      name: { type: 'string' },
      listen: { type: 'string', default: '127.0.0.1:0' },
      profile: { type: 'string', default: 'default' },
      'token-file': { type: 'string' },
      'people-file': { type: 'string' },
      'tls-cert': { type: 'string' },
      'tls-key': { type: 'string' },
      'tls-ca': { type: 'string' },
      'memory-mib': { type: 'string' },
      'log-level': { type: 'string', default: 'info' },
      retention: { type: 'string' },
      drills: { type: 'boolean', default: false },
      limit: { type: 'string', multiple: true, default: [] },
    },
  });
  const memory = values['memory-mib'];
  return { ...values, 'memory-mib': memory === undefined ? undefined : Number(memory) };
}

/** Checks what a node is told. Throws ClusterError `BAD_REQUEST`. */
export function nodeOptions(values: NodeValues): NodeOptions {
  const { store, name, profile } = values;
  if (store === undefined || name === undefined)
    throw new ClusterError('BAD_REQUEST', 'a node needs --store and --name', {
      hint: '--store file:/srv/revenant --name a',
    });
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(name))
    throw new ClusterError('BAD_REQUEST', `${name} is no node name`);
  if (profile !== 'default' && profile !== 'fast')
    throw new ClusterError('BAD_REQUEST', `there is no profile ${profile}`);
  const tokenFile = values['token-file'];
  const token = tokenFile === undefined ? undefined : readGiven('--token-file', tokenFile).trim();
  if (token !== undefined && token.length < 16)
    throw new ClusterError('BAD_REQUEST', 'the token has less than 16 characters');
  const memory = values['memory-mib'];
  const tls = tlsFiles(values);
  if (values['tls-ca'] !== undefined) trustAuthority(values['tls-ca']);
  return {
    name,
    store,
    listen: values.listen,
    settings: makeSettings(profile satisfies ProfileName),
    heartbeatStores: [...values['heartbeat-store']],
    logLevel: values['log-level'],
    drills: values.drills,
    limits: parseLimits(values.limit ?? []),
    ...(token === undefined ? {} : { token }),
    people: values['people-file'],
    tls,
    ...(memory === undefined ? {} : { memoryMiB: memory }),
    ...(values.retention === undefined ? {} : { retention: retentionPolicy(values.retention) }),
  };
}

function tlsFiles({ 'tls-cert': certPath, 'tls-key': keyPath }: NodeValues): TlsFiles | undefined {
  if (certPath === undefined && keyPath === undefined) return undefined;
  if (certPath === undefined || keyPath === undefined)
    throw new ClusterError('BAD_REQUEST', 'TLS needs both --tls-cert and --tls-key');
  const files = { cert: readGiven('--tls-cert', certPath), key: readGiven('--tls-key', keyPath) };
  try {
    createSecureContext(files);
  } catch (error) {
    throw new ClusterError('BAD_REQUEST', `--tls-cert, --tls-key: ${messageOf(error)}`, {
      cause: error,
      hint: 'PEM files: a certificate (with its chain) and the private key that belongs to it',
    });
  }
  return files;
}

function retentionPolicy(text: string): RetentionPolicy {
  try {
    return parseRetention(text);
  } catch (error) {
    if (!isStorageError(error)) throw error;
    throw new ClusterError('BAD_REQUEST', `--retention: ${error.message}`, { hint: error.hint ?? '' });
  }
}

/**
 * Runs a node until SIGTERM or SIGINT, on which it leaves in order; a second one ends it at once. The key of checkpoints is the environment's.
 * Throws ClusterError when it can't be part of the cluster: at the start, or as soon as that is known (`NAME_IN_USE`).
 */
export async function runNode(options: NodeOptions): Promise<never> {
  const node = await ClusterNode.start({ key: await keyFromEnvironment(), recordsApart: true, ...options });
  process.stdout.write(
    `${JSON.stringify({ node: options.name, address: node.address, pid: process.pid })}\n`,
  );
  let asked = false;
  const end = (): void => {
    if (asked) process.exit(1);
    asked = true;
    void node.leave().then(() => process.exit(0));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  // What has no owner is the node's: it says so in one line and ends, and others take its VMs over.
  for (const fault of ['uncaughtException', 'unhandledRejection'] as const)
    process.on(fault, (error: unknown) => node.failedInside(error));
  const why = await node.failed;
  await node.close();
  throw why;
}

if (import.meta.main) {
  try {
    await runNode(nodeOptions(nodeValues(process.argv.slice(2))));
  } catch (error) {
    const hint = error instanceof ClusterError && error.hint !== undefined ? `\n  hint: ${error.hint}` : '';
    process.stderr.write(`revenant node: ${error instanceof Error ? error.message : String(error)}${hint}\n`);
    process.exitCode = 1;
  }
}
