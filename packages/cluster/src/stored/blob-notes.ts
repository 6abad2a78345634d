/**
 * Notes that a collector of blobs leaves beside an upload, `cluster/blob-notes/HASH-UPLOAD`, compared and swapped:
 *   condemned  nothing refers to it, as somebody saw; it goes when that stays so for long
 *   wanted     somebody is about to refer to it: its time begins afresh
 *   deleting   it goes now; who wants these bytes uploads them again, under another name
 * Of `condemned → wanted` and `condemned → deleting` one succeeds. No note: nobody has condemned it.
 */
import * as v from 'valibot';
import { isStoreError, putRecord, systemHost, type ObjectStore } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import { readStored, storable, type Stored } from './records.ts';

export const blobNotesPrefix = 'cluster/blob-notes/';
const maxTries = 8;

const noteSchema = v.object({ state: v.picklist(['condemned', 'wanted', 'deleting']) });
export type BlobNote = v.InferOutput<typeof noteSchema>;

export async function readNote(store: ObjectStore, upload: string): Promise<Stored<BlobNote> | undefined> {
  return readStored(store, blobNotesPrefix + upload, noteSchema);
}

/** False when another was first. */
export async function putNote(
  store: ObjectStore,
  upload: string,
  state: BlobNote['state'],
  expected: string | undefined,
): Promise<boolean> {
  try {
    const key = blobNotesPrefix + upload;
    const note = storable(noteSchema, { state }, `the record ${key}`);
    await putRecord(store, systemHost, key, note, expected);
    return true;
  } catch (error) {
    if (isStoreError(error, 'CONFLICT')) return false;
    throw error;
  }
}

/** Makes an upload stay for as long as the collector waits. False when it goes already. */
export async function keep(store: ObjectStore, upload: string): Promise<boolean> {
  for (let tries = 0; tries < maxTries; tries++) {
    const note = await readNote(store, upload);
    if (note === undefined || note.value.state === 'wanted') return true;
    if (note.value.state === 'deleting') return false;
    if (await putNote(store, upload, 'wanted', note.version)) return true;
  }
  throw new ClusterError('STORE', `the note of ${upload} changes too fast`, { retryable: true });
}
