/** The marker bytes of a benchmark guest (see images/bench/bench.s) with the times at which they came, made into results. */
import { benchmarkNames, type BenchmarkName } from './image.ts';

export interface Mark {
  /** Milliseconds of any monotonic clock. */
  timeMs: number;
  byte: number;
  /** Instructions retired until then, where the emulator can tell. */
  instructions?: bigint;
}

export interface Measurement {
  name: BenchmarkName;
  seconds: number;
  /** Checksum of the guest's results: the same on every right emulator. */
  checksum: string;
  instructions?: bigint;
}

const lowerA = 97;
const upperA = 65;

/** Throws when the guest did not finish. */
export function measurements(marks: readonly Mark[]): Measurement[] {
  const result: Measurement[] = [];
  let at = 0;
  for (const [index, name] of benchmarkNames.entries()) {
    const start = marks[at];
    const end = marks[at + 1];
    if (start?.byte !== lowerA + index || end?.byte !== upperA + index || marks.length < at + 6) {
      throw new Error(`the guest stopped in benchmark ${name}`);
    }
    const checksum = Buffer.from(marks.slice(at + 2, at + 6).map((mark) => mark.byte))
      .reverse()
      .toString('hex');
    const measurement: Measurement = { name, seconds: (end.timeMs - start.timeMs) / 1000, checksum };
    if (start.instructions !== undefined && end.instructions !== undefined) {
      measurement.instructions = end.instructions - start.instructions;
    }
    result.push(measurement);
    at += 6;
  }
  return result;
}

/** Lines `MILLISECONDS BYTE [INSTRUCTIONS]` as the runners print them. */
export function parseMarks(text: string): Mark[] {
  return text
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [time, byte, instructions] = line.split(' ');
      const mark: Mark = { timeMs: Number(time), byte: Number(byte) };
      if (instructions !== undefined) mark.instructions = BigInt(instructions);
      return mark;
    });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle];
  if (high === undefined) throw new RangeError('median of nothing');
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? high)) / 2;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
