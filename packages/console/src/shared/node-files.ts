/** Bytes that a node answers with, for pages and their workers. */

/** Why a node did not answer as it should, in its own words. */
export function refusalOf(status: number, body: string): Error {
  const [, message] = /"message":"((?:[^"\\]|\\.)*)"/.exec(body) ?? [];
  return new Error(message ?? `the node answers with status ${String(status)}`);
}

/** Throws Error in words for people. */
export async function fetchBytes(address: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(address);
  if (!response.ok) throw refusalOf(response.status, await response.text());
  return new Uint8Array(await response.arrayBuffer());
}

/** `/v1/vms/ID/checkpoints/WHICH` */
export function checkpointAddress(vmId: string, which: string): string {
  return `/v1/vms/${encodeURIComponent(vmId)}/checkpoints/${which}`;
}
