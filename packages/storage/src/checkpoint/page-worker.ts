/** The thread of a PagePool: one job in, one answer out. */
import { getPriority, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { decodePages, encodePages, type StoredPages } from './page-codec.ts';

export type PageJob =
  | { id: number; kind: 'encode'; bytes: Uint8Array; pageSize: number }
  | ({ id: number; kind: 'decode' } & StoredPages);

const port = parentPort!;
// A nice value (setpriority(2), which on Linux holds for this thread only): threads that speak with the store and keep leases come first.
if (process.platform === 'linux') setPriority(0, Math.min(19, getPriority(0) + 5));

/**
 * A job for each turn of the event loop. Node hands out up to a thousand waiting messages in one turn (`MessagePort::OnMessage`), and what the
 * compression library allocated goes back only between two: while jobs keep coming that is all that it ever gave.
 */
const jobs: PageJob[] = [];
port.on('message', (job: PageJob) => {
  if (jobs.push(job) === 1) setImmediate(work);
});

function work(): void {
  answer(jobs[0]!);
  jobs.shift();
  if (jobs.length > 0) setImmediate(work);
}

function answer(job: PageJob): void {
  try {
    if (job.kind === 'encode') {
      const result = encodePages(job.bytes, job.pageSize);
      port.postMessage({ id: job.id, result }, [
        result.hashes.buffer as ArrayBuffer,
        result.lengths.buffer as ArrayBuffer,
        result.data.buffer as ArrayBuffer,
      ]);
    } else {
      const result = decodePages(job);
      port.postMessage({ id: job.id, result }, [result.bytes.buffer as ArrayBuffer]);
    }
  } catch (error) {
    port.postMessage({ id: job.id, error: error instanceof Error ? error.message : String(error) });
  }
}
