/** Bytes that a node answers with, for pages and their workers. */

/** The node that answers now: the one that served the page, or, when that is gone, another one, to which the page shows its pass. */
export interface NodeAccess {
  /** `http://HOST:PORT`; empty: the page's own. */
  origin: string;
  /** To be sent with each request. */
  headers: Record<string, string>;
}

export const ownNode: NodeAccess = { origin: '', headers: {} };

/** Why a node did not answer as it should, in its own words. */
export function refusalOf(status: number, body: string): Error {
  const [, message] = /"message":"((?:[^"\\]|\\.)*)"/.exec(body) ?? [];
  return new Error(message ?? `the node answers with status ${String(status)}`);
}

/** Throws Error in words for people. */
export async function bytesOf(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  if (!response.ok) throw refusalOf(response.status, await response.text());
  return new Uint8Array(await response.arrayBuffer());
}

/** `/v1/vms/ID/checkpoints/WHICH` */
export function checkpointAddress(vmId: string, which: string): string {
  return `/v1/vms/${encodeURIComponent(vmId)}/checkpoints/${which}`;
}
