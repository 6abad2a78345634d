/** Events, the newest first. */
import type { ClusterEvent } from '@revenant/cluster/protocol';
import { clock } from './text.ts';

const shown = 100;

export function EventList({ events }: { events: readonly ClusterEvent[] }) {
  if (events.length === 0) return <p class="quiet">nothing yet</p>;
  return (
    <ol class="events" tabIndex={0} aria-label="list of events">
      {events
        .slice(-shown)
        .reverse()
        .map((event) => (
          <li key={JSON.stringify(event)}>
            <time dateTime={new Date(event.atMs).toISOString()}>{clock(event.atMs)}</time>{' '}
            <strong>{event.event}</strong> {event.vm ?? event.node ?? ''}: {event.reason}
            {event.tookMs === undefined ? '' : ` (${String(Math.round(event.tookMs))} ms)`}
          </li>
        ))}
    </ol>
  );
}
