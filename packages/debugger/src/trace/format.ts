/** A trace as text, as JSON lines, or as what Perfetto and chrome://tracing open ("Trace Event Format"). */
import type { TraceEvent } from './trace.ts';

export type TraceFormat = 'text' | 'json' | 'perfetto';

/** Name of a place in code; undefined: it has none. */
export type NameOf = (address: bigint) => string | undefined;

const hex = (value: bigint | number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

/** What happened, without when. */
function detail(event: TraceEvent, nameOf: NameOf): string {
  const place = (address: bigint): string => nameOf(address) ?? hex(address);
  switch (event.kind) {
    case 'instruction':
      return `${place(event.address)}  ${event.text}`;
    case 'call':
      return `${'  '.repeat(Math.min(event.depth, 40))}${place(event.target)} from ${place(event.address)}`;
    case 'return':
      return `${'  '.repeat(Math.min(event.depth, 40))}back to ${place(event.target)}`;
    case 'memory':
      return `${event.access} ${hex(event.address)} before ${place(event.rip)}: ${Buffer.from(event.value).toString('hex')}`;
    case 'port':
    case 'device':
      return `${event.access} ${event.kind} ${hex(event.address)} ${event.bytes} bytes ${hex(event.value)}`;
    case 'interrupt':
      return `interrupt ${event.vector}`;
    case 'nmi':
      return 'NMI';
  }
}

/** In the browser as in Node: bytes as hexadecimal, big numbers as text. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint'
    ? String(value)
    : value instanceof Uint8Array
      ? Buffer.from(value).toString('hex')
      : value;
}

function perfetto(event: TraceEvent, nameOf: NameOf): string {
  const common = { ts: Number(event.timeNs) / 1000, pid: 1, tid: 1, cat: event.kind };
  const args = { instructions: String(event.count) };
  if (event.kind === 'call')
    return JSON.stringify({ ...common, ph: 'B', name: nameOf(event.target) ?? hex(event.target), args });
  if (event.kind === 'return') return JSON.stringify({ ...common, ph: 'E' });
  return JSON.stringify({ ...common, ph: 'i', s: 't', name: detail(event, nameOf).trim(), args });
}

export interface TraceWriter {
  head: string;
  line(event: TraceEvent): string;
  tail: string;
}

export function traceWriter(format: TraceFormat, nameOf: NameOf = () => undefined): TraceWriter {
  if (format === 'json') return { head: '', tail: '', line: (event) => `${JSON.stringify(event, plain)}\n` };
  if (format === 'text')
    return {
      head: '',
      tail: '',
      line: (event) => `${String(event.count).padStart(12)} ${detail(event, nameOf)}\n`,
    };
  let separator = '';
  return {
    head: '{"displayTimeUnit":"ns","traceEvents":[\n',
    tail: '\n]}\n',
    line: (event) => {
      const text = separator + perfetto(event, nameOf);
      separator = ',\n';
      return text;
    },
  };
}
