/**
 * A program ends with whoever started it. The launcher gives its child a pipe on which nothing is ever written; the kernel closes it when the
 * launcher ends, also when it is killed and can pass no signal on. Then the program gets the SIGTERM that it would have got.
 */
import { Socket } from 'node:net';

/** To be called once, first of all. Keeps no program from ending of itself. */
export function endWithParent(): void {
  const fd = Number(process.env['REVENANT_PARENT_PIPE']);
  // The programs that we start have parents of their own.
  delete process.env['REVENANT_PARENT_PIPE'];
  if (!Number.isInteger(fd) || fd < 3) return;
  try {
    const pipe = new Socket({ fd, readable: true, writable: false });
    pipe.on('error', () => undefined);
    pipe.on('close', () => process.kill(process.pid, 'SIGTERM'));
    pipe.resume();
    pipe.unref();
  } catch {
    // The variable came from somewhere else, and there is no such pipe: nobody to watch.
  }
}
