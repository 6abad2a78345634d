/** Whose turn it is follows from what the processors have to do and from the count of instructions, however often it is asked. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Region, cpuBlockBytes } from '../cpu/layout.ts';
import type { Processor } from './processor.ts';
import { Turns, turnInstructions } from './turns.ts';

class FakeProcessor {
  waiting = true;
  halted = false;
  instructions = 0n;
  stops = 0;
  readonly block: { address: number; setRetired: (count: bigint) => void };

  constructor(number: number) {
    this.block = {
      address: Region.cpuBlocks + number * cpuBlockBytes,
      setRetired: (count) => {
        this.instructions = count;
      },
    };
  }
  stopSlice(): void {
    this.stops++;
  }
}

function several(count: number): { turns: Turns; fakes: FakeProcessor[]; after: (count: bigint) => number } {
  const fakes = Array.from({ length: count }, (_, n) => new FakeProcessor(n));
  const turns = new Turns(fakes as unknown as Processor[], new DataView(new ArrayBuffer(0x2000)));
  const [first] = fakes;
  if (first !== undefined) first.waiting = false;
  const after = (more: bigint): number => {
    const current = fakes[turns.number];
    if (current !== undefined) current.instructions += more;
    turns.choose();
    return turns.number;
  };
  return { turns, fakes, after };
}

function wake({ fakes, turns }: ReturnType<typeof several>, number: number): void {
  const fake = fakes[number];
  if (fake !== undefined) fake.waiting = false;
  turns.woken();
}

test('one that works alone goes on', () => {
  const all = several(4);
  assert.equal(all.after(5n * turnInstructions), 0);
  assert.equal(all.turns.end, undefined);
});

test('a turn begins to count when a second processor has something to do, and goes around', () => {
  const all = several(4);
  all.after(1000n);
  wake(all, 3);
  assert.equal(all.fakes[0]?.stops, 1, 'what runs without an end is stopped to get one');
  assert.equal(all.after(7n), 0);
  assert.equal(all.turns.end, 1007n + turnInstructions);
  wake(all, 2);
  assert.equal(all.fakes[0]?.stops, 1);
  assert.equal(all.after(turnInstructions - 1n), 0);
  assert.equal(all.after(1n), 2);
  assert.equal(all.turns.instructions, 1007n + turnInstructions, 'the count goes on');
  assert.equal(all.after(turnInstructions), 3);
  assert.equal(all.after(turnInstructions), 0);
});

test('the end of a turn stays when the others have nothing to do any more: being asked changes nothing', () => {
  const [asked, left] = [several(2), several(2)];
  for (const all of [asked, left]) {
    wake(all, 1);
    all.after(10n);
    const [, other] = all.fakes;
    if (other !== undefined) other.waiting = true;
  }
  asked.after(20n);
  wake(asked, 1);
  asked.after(0n);
  left.after(20n);
  assert.equal(asked.turns.end, left.turns.end);
});

test('HLT and PAUSE end a turn early, PAUSE only when somebody else has something to do', () => {
  const all = several(3);
  all.after(10n);
  all.turns.yield();
  assert.equal(all.after(0n), 0);
  wake(all, 1);
  all.after(0n);
  all.turns.yield();
  assert.equal(all.after(0n), 1);
  const [, second] = all.fakes;
  if (second !== undefined) second.waiting = true;
  assert.equal(all.after(5n), 0);
  assert.equal(all.turns.end, undefined, 'it is alone again');
});
