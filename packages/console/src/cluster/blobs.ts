/** Kernels, firmware and disk images on their way into the cluster's store, by the SHA-256 of their bytes. */
import { checkTold, errorAnswerSchema } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';

/** Stores the bytes under a path of the API; gives their hash. Throws Error in words for people. */
async function put(
  connection: Connection,
  kind: 'blobs' | 'disks',
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const response = await connection.fetch(`/v1/${kind}/${hash}`, {
    method: 'PUT',
    body: bytes,
    headers: { 'revenant-body': hash },
  });
  if (response.ok) return hash;
  throw new Error(checkTold(errorAnswerSchema, await response.json(), 'the answer').error.message);
}

/** Gives the name that a VM's description knows them by. */
export const putBlob = (connection: Connection, bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
  put(connection, 'blobs', bytes);

/** A raw disk image, as a base image of disks. */
export const putDisk = (connection: Connection, bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
  put(connection, 'disks', bytes);
