/**
 * `/healthz` and `/readyz`, which whoever watches processes may ask without a token: that this one lives, and whether guests can run here.
 */
import type { ServerResponse } from 'node:http';
import type { ClusterNode } from './cluster-node.ts';

/** Why no guest could run here just now; undefined when one could. */
export function whyNotReady(node: ClusterNode | undefined): string | undefined {
  if (node === undefined) return 'the node is starting';
  const { phase, leaseUntil } = node.agent;
  if (phase !== 'active') return `the node is ${phase}`;
  return node.now() < leaseUntil ? undefined : 'the store does not answer';
}

export function answerProbe(response: ServerResponse, trouble: string | undefined): void {
  response.writeHead(trouble === undefined ? 200 : 503, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${trouble ?? 'ok'}
`);
}
