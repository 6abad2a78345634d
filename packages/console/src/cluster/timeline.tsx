/**
 * A VM's past as a strip: which node had it under which epoch, what happened, and its checkpoints. Where the pointer is, the screen of that
 * moment is shown; a click chooses the moment, and a drag from a checkpoint to a later moment replays what was between them. With the keyboard
 * it is a slider: arrows go from checkpoint to checkpoint, Enter replays the second behind the chosen one.
 */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { ClusterEvent, ListedCheckpoint } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { MomentCard } from './moment-card.tsx';
import {
  axisSteps,
  momentsOf,
  nearest,
  spansOf,
  stretchOf,
  toneOf,
  type Moment,
  type Span,
  type Stretch,
} from './timeline-model.ts';
import { clock } from './text.ts';
import { useDrag } from './use-drag.ts';

const ranges = [
  { label: '1 min', ms: 60_000 },
  { label: '10 min', ms: 600_000 },
  { label: '1 h', ms: 3_600_000 },
  { label: 'all', ms: Infinity },
] as const;
/** The strip follows the clock so often. */
const followMs = 1000;
const height = 108;
const lanes = { spans: 4, events: 44, checkpoints: 88, axis: 104 } as const;
const spanHeight = 26;
const labelPixels = 90;

/** The time now, and the width of an element. */
function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), followMs);
    return () => clearInterval(timer);
  }, []);
  return now;
}

interface Scale {
  fromMs: number;
  toMs: number;
  width: number;
}

const xOf = ({ fromMs, toMs, width }: Scale, atMs: number): number =>
  ((atMs - fromMs) / Math.max(1, toMs - fromMs)) * width;

function Spans({ spans, scale }: { spans: readonly Span[]; scale: Scale }) {
  return (
    <>
      {spans.map(({ epoch, node, fromMs, toMs }, n) => {
        const [left, right] = [Math.max(0, xOf(scale, fromMs)), Math.min(scale.width, xOf(scale, toMs))];
        if (right <= left) return null;
        const label = `epoch ${String(epoch)}${node === '' ? '' : ` on ${node}`}`;
        return (
          <g key={epoch}>
            <rect
              class={n % 2 === 0 ? 'span' : 'span other'}
              x={left}
              y={lanes.spans}
              width={Math.max(1, right - left - 1)}
              height={spanHeight}
              rx={3}
            >
              <title>{label}</title>
            </rect>
            {right - left > label.length * 7 && (
              <text class="label" x={left + 6} y={lanes.spans + 17}>
                {label}
              </text>
            )}
          </g>
        );
      })}
    </>
  );
}

function Marks({ events, scale }: { events: readonly ClusterEvent[]; scale: Scale }) {
  return (
    <>
      {events.map((event) => {
        const x = xOf(scale, event.atMs);
        if (x < 0 || x > scale.width) return null;
        return (
          <path
            key={`${event.by} ${event.process ?? ''} ${String(event.seq ?? event.atMs)} ${event.event}`}
            class={`mark ${toneOf(event)}`}
            d={`M${x.toFixed(1)} ${String(lanes.events)}l5 12h-10z`}
          >
            <title>{`${clock(event.atMs)} ${event.event}: ${event.reason}`}</title>
          </path>
        );
      })}
    </>
  );
}

function Ticks({ moments, scale, chosen }: { moments: readonly Moment[]; scale: Scale; chosen: string }) {
  return (
    <>
      {moments.map(({ checkpoint: { id, storedBytes = 0, damaged }, atMs }) => {
        const x = xOf(scale, atMs);
        if (x < 0 || x > scale.width) return null;
        // A tenfold amount is a step higher.
        const tall = 6 + 3 * Math.log10(1 + storedBytes / 1024);
        return (
          <rect
            key={id}
            class={`tick${id === chosen ? ' chosen' : ''}${damaged === undefined ? '' : ' bad'}`}
            x={x - 1.5}
            y={lanes.checkpoints - tall}
            width={3}
            height={tall}
          />
        );
      })}
    </>
  );
}

function Axis({ scale }: { scale: Scale }) {
  return (
    <>
      {axisSteps(scale.fromMs, scale.toMs, Math.max(1, scale.width / labelPixels)).map((atMs) => (
        <text key={atMs} class="axis" x={xOf(scale, atMs)} y={lanes.axis}>
          {clock(atMs)}
        </text>
      ))}
    </>
  );
}

/** The width of an element, as it changes. */
function useWidth(): [(element: HTMLElement | null) => void, number] {
  const [width, setWidth] = useState(600);
  const observer = useRef<ResizeObserver>(undefined);
  const watch = (element: HTMLElement | null): void => {
    observer.current?.disconnect();
    if (element === null) return;
    observer.current = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.current.observe(element);
  };
  return [useMemo(() => watch, []), width];
}

function Heading({
  moments,
  range,
  setRange,
}: {
  moments: readonly Moment[];
  range: number;
  setRange: (ms: number) => void;
}) {
  return (
    <div class="heading">
      <h2>Time</h2>
      <span class="quiet">
        {moments.length === 0
          ? 'no checkpoint yet'
          : `${String(moments.length)} checkpoints kept, the oldest of ${clock(moments[0]!.atMs)}`}
      </span>
      <span class="grow" />
      <span class="choices" role="group" aria-label="how much of the past">
        {ranges.map(({ label, ms }) => (
          <button key={label} type="button" aria-pressed={range === ms} onClick={() => setRange(ms)}>
            {label}
          </button>
        ))}
      </span>
    </div>
  );
}

export interface TimelineProps {
  connection: Connection;
  vmId: string;
  checkpoints: readonly ListedCheckpoint[];
  /** Of this VM. */
  events: readonly ClusterEvent[];
  /** Id of the chosen moment; empty: none. */
  chosen: string;
  choose: (id: string) => void;
  /** Absent for who may not see what is in it. */
  replay: ((stretch: Stretch) => void) | undefined;
}

/** Which moment a key goes to. */
function gone(key: string, moments: readonly Moment[], at: number): Moment | undefined {
  const last = moments.length - 1;
  const from = at < 0 ? last + 1 : at;
  const to = {
    ArrowLeft: from - 1,
    ArrowDown: from - 1,
    ArrowRight: from + 1,
    ArrowUp: from + 1,
    PageUp: from - 10,
    PageDown: from + 10,
    Home: 0,
    End: last,
  }[key];
  return to === undefined ? undefined : moments[Math.max(0, Math.min(last, to))];
}

/** By keyboard: what follows a checkpoint is replayed for so long. */
const replayMs = 1000;

interface Strip {
  moments: readonly Moment[];
  scale: Scale;
}

/** The part of the past that a drag covers. */
function Dragged({ from, at, width }: { from: number | undefined; at: number | undefined; width: number }) {
  if (from === undefined || at === undefined) return null;
  const [left, right] = [Math.max(0, Math.min(from, at)), Math.min(width, Math.max(from, at))];
  return <rect class="dragged" x={left} y={0} width={Math.max(1, right - left)} height={lanes.checkpoints} />;
}

const timeAt = ({ fromMs, toMs, width }: Scale, x: number): number =>
  fromMs + (x / Math.max(1, width)) * (toMs - fromMs);

function press(
  event: KeyboardEvent,
  {
    moments,
    at,
    choose,
    replay,
  }: Pick<TimelineProps, 'choose' | 'replay'> & { moments: readonly Moment[]; at: number },
): void {
  if (event.key === 'Escape') choose('');
  const { id, virtualMs } = moments[at]?.checkpoint ?? {};
  if (event.key === 'Enter' && id !== undefined && virtualMs !== undefined)
    replay?.({ from: id, toMs: virtualMs + replayMs });
  const moment = gone(event.key, moments, at);
  if (moment === undefined) return;
  event.preventDefault();
  choose(moment.checkpoint.id);
}

export function Timeline({ connection, vmId, checkpoints, events, chosen, choose, replay }: TimelineProps) {
  const now = useNow();
  const [range, setRange] = useState<number>(ranges[1].ms);
  const [watch, width] = useWidth();
  const held = useRef<Strip>(undefined);
  const strip = useRef<Strip>(undefined);
  const drag = useDrag({
    // What is under the pointer stays there until it is let go.
    begin: () => (held.current = strip.current),
    clicked: (x) => {
      const { moments, scale } = held.current!;
      const moment = nearest(moments, timeAt(scale, x));
      if (moment !== undefined) choose(moment.checkpoint.id);
    },
    dragged: (from, to) => {
      const { moments, scale } = held.current!;
      const stretch = stretchOf(moments, { fromMs: timeAt(scale, from), toMs: timeAt(scale, to) });
      if (stretch !== undefined) replay?.(stretch);
    },
  });
  const moments = useMemo(() => momentsOf(checkpoints), [checkpoints]);
  const spans = spansOf(checkpoints, events, now);
  const first = Math.min(...moments.map(({ atMs }) => atMs), ...events.map(({ atMs }) => atMs), now - 1000);
  const present = { fromMs: Math.max(now - range, first - 500), toMs: now + 500, width };
  strip.current = { moments, scale: present };
  const scale = drag.from === undefined ? present : held.current!.scale;
  const pointed = drag.at === undefined ? undefined : nearest(moments, timeAt(scale, drag.at));
  const at = moments.findIndex(({ checkpoint }) => checkpoint.id === chosen);
  const shown = pointed ?? moments[at];
  return (
    <section class="panel timeline" aria-label={`timeline of ${vmId}`}>
      <Heading {...{ moments, range, setRange }} />
      <div
        ref={watch}
        class="strip"
        role="slider"
        tabIndex={0}
        aria-label={`moment of ${vmId}`}
        aria-valuemin={0}
        aria-valuemax={Math.max(0, moments.length - 1)}
        aria-valuenow={Math.max(0, at)}
        aria-valuetext={at < 0 ? 'now' : `checkpoint ${chosen}, ${clock(moments[at]!.atMs)}`}
        {...drag.handlers}
        onKeyDown={(event) => press(event, { moments, at, choose, replay })}
      >
        <svg width={width} height={height} aria-hidden="true">
          <Spans spans={spans} scale={scale} />
          <Marks events={events} scale={scale} />
          <Ticks moments={moments} scale={scale} chosen={chosen} />
          <Axis scale={scale} />
          <Dragged from={drag.from} at={drag.at} width={width} />
          {shown !== undefined && <Cursor x={xOf(scale, shown.atMs)} />}
        </svg>
        {pointed !== undefined && drag.from === undefined && (
          <MomentCard {...{ connection, vmId }} moment={pointed} x={xOf(scale, pointed.atMs)} width={width} />
        )}
      </div>
      {replay !== undefined && (
        <p class="quiet">Drag from a checkpoint to a later moment to run again what was between them.</p>
      )}
    </section>
  );
}

const Cursor = ({ x }: { x: number }) => <line class="cursor" x1={x} x2={x} y1={0} y2={lanes.checkpoints} />;
