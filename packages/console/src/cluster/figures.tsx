/** Charts of a VM's figures over the last minutes: how long checkpoints stop it, how much they store, how fast it computes, what waits. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { VmSample } from '@revenant/cluster/protocol';
import { bytesText } from './text.ts';

interface Chart {
  title: string;
  /** Of a value on the axis. */
  text: (value: number) => string;
  lines: { label: string; of: (sample: VmSample, before: VmSample | undefined) => number | null }[];
}

const milliseconds = (ms: number): string =>
  ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${String(ms)} ms`;
const perSecond = (count: number): string =>
  count >= 1e9 ? `${(count / 1e9).toFixed(1)} G/s` : `${(count / 1e6).toFixed(0)} M/s`;

/** Retired since the sample before, of the same owner. */
function rate(sample: VmSample, before: VmSample | undefined): number | null {
  if (before === undefined || before.epoch !== sample.epoch || sample.atMs <= before.atMs) return null;
  return Math.max(0, ((sample.instructions - before.instructions) * 1000) / (sample.atMs - before.atMs));
}

const charts: readonly Chart[] = [
  {
    title: 'Pause for a checkpoint',
    text: milliseconds,
    lines: [{ label: 'pause', of: ({ pauseMs, checkpoints }) => (checkpoints === 0 ? null : pauseMs) }],
  },
  {
    title: 'Until a checkpoint is durable',
    text: milliseconds,
    lines: [
      { label: 'latency', of: ({ durableMs, checkpoints }) => (checkpoints === 0 ? null : durableMs) },
      { label: 'interval', of: ({ intervalMs, checkpoints }) => (checkpoints === 0 ? null : intervalMs) },
    ],
  },
  {
    title: 'Stored by a checkpoint, and waiting',
    text: bytesText,
    lines: [
      { label: 'stored', of: ({ storedBytes, checkpoints }) => (checkpoints === 0 ? null : storedBytes) },
      {
        label: 'waits',
        of: ({ heldBytes, heldOutputBytes, logWaitingBytes }) =>
          heldBytes + heldOutputBytes + logWaitingBytes,
      },
    ],
  },
  { title: 'Instructions', text: perSecond, lines: [{ label: 'retired', of: rate }] },
];

const height = 140;
const axisWidth = 72;
const colours = ['--accent', '--warn'] as const;

function tableOf({ lines }: Chart, samples: readonly VmSample[]): uPlot.AlignedData {
  const times = samples.map(({ atMs }) => atMs / 1000);
  return [times, ...lines.map(({ of }) => samples.map((sample, n) => of(sample, samples[n - 1])))];
}

function makePlot(place: HTMLElement, chart: Chart): uPlot {
  const colour = (name: string): string => getComputedStyle(place).getPropertyValue(name).trim() || 'gray';
  const style = getComputedStyle(place);
  const axis = {
    stroke: style.color,
    grid: { stroke: style.borderTopColor, width: 1 },
    ticks: { show: false },
  };
  return new uPlot(
    {
      width: Math.max(200, place.clientWidth),
      height,
      legend: { show: chart.lines.length > 1, live: false },
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, max ?? 1) * 1.1] } },
      axes: [
        {
          ...axis,
          values: (_plot, ticks) => ticks.map((at) => new Date(at * 1000).toTimeString().slice(0, 8)),
          space: 80,
        },
        { ...axis, size: axisWidth, values: (_plot, ticks) => ticks.map(chart.text) },
      ],
      series: [
        {},
        ...chart.lines.map(({ label }, n) => ({
          label,
          stroke: colour(colours[n] ?? '--accent'),
          width: 1.5,
          spanGaps: false,
          points: { show: false },
        })),
      ],
    },
    [[], ...chart.lines.map(() => [])],
    place,
  );
}

function ChartView({ chart, samples }: { chart: Chart; samples: readonly VmSample[] }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  useEffect(() => {
    const made = makePlot(place.current!, chart);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      made.setSize({ width: Math.max(200, place.current?.clientWidth ?? 200), height });
    });
    observer.observe(place.current!);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [chart]);
  useEffect(() => plot.current?.setData(tableOf(chart, samples)), [chart, samples]);
  const last = samples.at(-1);
  const said = chart.lines.map(({ label, of }) => {
    const value = last === undefined ? null : of(last, samples.at(-2));
    return `${label} ${value === null ? 'unknown' : chart.text(Number(value.toPrecision(3)))}`;
  });
  return (
    <figure class="chart">
      <figcaption>
        {chart.title} <span class="quiet">{said.join(', ')}</span>
      </figcaption>
      <div ref={place} class="plot" aria-hidden="true" />
    </figure>
  );
}

export function Figures({ vmId, samples }: { vmId: string; samples: readonly VmSample[] }) {
  return (
    <section class="panel figures" aria-label={`figures of ${vmId}`}>
      <h2>Figures</h2>
      <div class="charts">
        {charts.map((chart) => (
          <ChartView key={chart.title} chart={chart} samples={samples} />
        ))}
      </div>
    </section>
  );
}
