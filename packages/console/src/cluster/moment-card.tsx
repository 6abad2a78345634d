/** What a moment of the past was: its screen and its figures, beside the pointer. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { checkTold, errorAnswerSchema } from '@revenant/cluster/protocol';
import { drawPicture, type Picture } from '../shared/screen-canvas.tsx';
import type { Connection } from './connection.ts';
import { checkpointAddress } from '../shared/node-files.ts';
import { pictureOfAnswer } from './picture.ts';
import type { Moment } from './timeline-model.ts';
import { bytesText, clock } from './text.ts';

/** The pointer may only pass. */
const settleMs = 120;
const maxKept = 64;
const cardWidth = 300;

/** Screens of checkpoints that were looked at: they never change. */
const kept = new Map<string, Promise<Picture | string>>();

async function fetchScreen(connection: Connection, address: string): Promise<Picture | string> {
  const response = await connection.fetch(`${address}/screen`);
  const answer: unknown = await response.json();
  if (!response.ok) return checkTold(errorAnswerSchema, answer, 'the answer').error.message;
  return pictureOfAnswer(answer);
}

function screenOf(connection: Connection, vmId: string, id: string): Promise<Picture | string> {
  const address = checkpointAddress(vmId, id);
  const known = kept.get(address);
  if (known !== undefined) return known;
  const coming = fetchScreen(connection, address);
  kept.set(address, coming);
  coming.catch(() => kept.delete(address));
  for (const oldest of kept.keys()) if (kept.size > maxKept) kept.delete(oldest);
  return coming;
}

/** The screen of a checkpoint, or why there is none. */
export function PastScreen({
  connection,
  vmId,
  id,
  delayMs = 0,
}: {
  connection: Connection;
  vmId: string;
  id: string;
  delayMs?: number;
}) {
  const place = useRef<HTMLCanvasElement>(null);
  const [said, setSaid] = useState('');
  useEffect(() => {
    let over = false;
    const look = async (): Promise<void> => {
      const screen = await screenOf(connection, vmId, id).catch((error: unknown) =>
        error instanceof Error ? error.message : String(error),
      );
      if (over || place.current === null) return;
      setSaid(typeof screen === 'string' ? screen : '');
      if (typeof screen !== 'string') drawPicture(place.current, screen);
    };
    const timer = setTimeout(() => void look(), delayMs);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [connection, vmId, id, delayMs]);
  return (
    <>
      <canvas
        ref={place}
        class="past"
        width={720}
        height={400}
        role="img"
        aria-label={`screen of ${vmId} at ${id}`}
      />
      {said !== '' && <p class="quiet">{said}</p>}
    </>
  );
}

export function MomentCard({
  connection,
  vmId,
  moment,
  x,
  width,
}: {
  connection: Connection;
  vmId: string;
  moment: Moment;
  x: number;
  width: number;
}) {
  const { id, virtualMs, pages, storedBytes, damaged } = moment.checkpoint;
  const left = Math.max(0, Math.min(width - cardWidth, x - cardWidth / 2));
  return (
    <div class="card" style={{ left: `${String(left)}px`, width: `${String(cardWidth)}px` }}>
      <PastScreen {...{ connection, vmId, id }} delayMs={settleMs} />
      <p>
        <strong>{id}</strong> at {clock(moment.atMs)}
        {virtualMs === undefined ? '' : `, ${(virtualMs / 1000).toFixed(1)} s of its own`}
      </p>
      <p class="quiet">
        {damaged ??
          [
            pages === undefined ? '' : `${String(pages)} pages changed`,
            storedBytes === undefined ? '' : `${bytesText(storedBytes)} stored`,
          ]
            .filter((part) => part !== '')
            .join(', ')}
      </p>
    </div>
  );
}
