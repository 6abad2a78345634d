/** Both ends of a websocket ask each other whether they are there: what a host that vanished left open would hold a guest for ever. */
import type { WebSocket } from 'ws';
import { owned } from './owned.ts';

const askMs = 5000;
/** Without a word for so long the other end counts as gone. */
const goneMs = 20_000;

/** Ends a websocket whose other end is gone. */
export function watchLiveness(socket: WebSocket): void {
  let heardAt = performance.now();
  const heard = (): void => void (heardAt = performance.now());
  for (const event of ['ping', 'pong', 'message'] as const) socket.on(event, heard);
  let askedAt = heardAt;
  const look = (): void => {
    const now = performance.now();
    // A host that slept itself has heard nothing, and can say nothing of others.
    if (now - askedAt > 2 * askMs) heardAt = now;
    askedAt = now;
    if (now - heardAt > goneMs) socket.terminate();
    else if (socket.readyState === socket.OPEN) socket.ping();
  };
  const timer = setInterval(
    owned(look, () => socket.terminate()),
    askMs,
  );
  timer.unref();
  socket.on('close', () => clearInterval(timer));
}
