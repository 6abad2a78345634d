/** Disks of a machine as a checkpoint has them, and how they become image files. */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, renameSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { describeMachine, Qcow2Writer, type DiskAttachment, type MachineRequest } from '@revenant/emulator';
import type { CheckpointReader } from '@revenant/storage';
import { cannotWrite, CliError, ExitCode } from '../errors.ts';

export interface DiskIn {
  name: string;
  bytes: number;
  readOnly: boolean;
  attach: DiskAttachment;
}

const pageBytes = 4096;
const pagesPerCluster = Qcow2Writer.clusterBytes / pageBytes;
/** Read at once: enough that a store far away is asked for many pages together. */
const clustersAtOnce = 64;

/** A guest of tests, which is no machine, has none. */
export function disksIn({ state }: CheckpointReader): DiskIn[] {
  const description = state.description as MachineRequest & { machine?: string };
  if (description.machine !== 'pc' && description.machine !== 'microvm') return [];
  return describeMachine(description).disks.map(({ name, bytes, readOnly, attach = 'virtio' }) => ({
    name,
    bytes,
    readOnly,
    attach,
  }));
}

/** Throws CliError. */
export function diskIn(reader: CheckpointReader, name: string): DiskIn {
  const disks = disksIn(reader);
  const found = disks.find((disk) => disk.name === name);
  if (found !== undefined) return found;
  throw new CliError(
    ExitCode.refused,
    `${reader.vmId} has no disk '${name}'`,
    disks.length === 0 ? 'it has none' : `it has ${disks.map((disk) => disk.name).join(', ')}`,
  );
}

export interface ExportRequest {
  reader: CheckpointReader;
  disk: DiskIn;
  path: string;
  format: 'qcow2' | 'raw';
  onProgress: (progress: { donePages: number; totalPages: number }) => void;
}

/** By cluster of the disk, ascending: the numbers of its pages that are not zero. */
function clustersOf(pages: Uint32Array): Map<number, number[]> {
  const clusters = new Map<number, number[]>();
  for (const page of pages) {
    const cluster = Math.floor(page / pagesPerCluster);
    const held = clusters.get(cluster);
    if (held === undefined) clusters.set(cluster, [page]);
    else held.push(page);
  }
  return clusters;
}

/** Streams a disk into a file, which appears when it is whole. @returns the file's size. Throws CliError, StorageError. */
export async function exportDisk(request: ExportRequest): Promise<number> {
  const { path } = request;
  const temporary = `${path}.${randomBytes(4).toString('hex')}.part`;
  let fd: number;
  try {
    fd = openSync(temporary, 'wx');
  } catch (error) {
    throw cannotWrite(path, error);
  }
  try {
    await writeDisk(request, fd);
    closeSync(fd);
    renameSync(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
  return statSync(path).size;
}

async function writeDisk(
  { reader, disk, path, format, onProgress }: ExportRequest,
  fd: number,
): Promise<void> {
  const source = reader.source(disk.name);
  const pages = source.present();
  const clusters = [...clustersOf(pages)];
  const write = (offset: number, data: Uint8Array): void => {
    try {
      for (let done = 0; done < data.length;)
        done += writeSync(fd, data, done, data.length - done, offset + done);
    } catch (error) {
      throw cannotWrite(path, error);
    }
  };
  const qcow2 = format === 'qcow2' ? new Qcow2Writer(write, disk.bytes) : undefined;
  let donePages = 0;
  for (let from = 0; from < clusters.length; from += clustersAtOnce) {
    const some = clusters.slice(from, from + clustersAtOnce);
    const bytes = await source.read(Uint32Array.from(some.flatMap(([, held]) => held)));
    let at = 0;
    for (const [cluster, held] of some) {
      const data = new Uint8Array(Qcow2Writer.clusterBytes);
      for (const page of held) {
        data.set(bytes.subarray(at, at + pageBytes), (page % pagesPerCluster) * pageBytes);
        at += pageBytes;
      }
      const offset = cluster * Qcow2Writer.clusterBytes;
      if (qcow2 === undefined) write(offset, data.subarray(0, Math.min(data.length, disk.bytes - offset)));
      else qcow2.cluster(cluster, data);
      donePages += held.length;
    }
    onProgress({ donePages, totalPages: pages.length });
  }
  if (qcow2 === undefined) ftruncateSync(fd, disk.bytes);
  else qcow2.finish();
}
