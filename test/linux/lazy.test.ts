/**
 * A machine that goes on before all of its memory is there is the same machine: Linux, restored whole and restored with nearly all
 * pages absent, does the same, with either engine and whenever the pages come.
 */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { restoreMachine, type AbsentPages, type Machine, type MachineSnapshot } from '@revenant/emulator';
import { buildModules, makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { boot, bootInstructions, imageOrSkip } from './shell.ts';

const pageBytes = 4096;
const work = 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); cat /bin/busybox | sha256sum; done\n';

/** The snapshot with its first `kept` pages of RAM only, and where the others come from. */
function split(
  snapshot: MachineSnapshot,
  kept: number,
): { rest: MachineSnapshot; absent: AbsentPages; fetched: number[] } {
  const fetched: number[] = [];
  const spaces = [...snapshot.spaces];
  const at = spaces.findIndex(({ name }) => name === 'ram');
  const ram = spaces[at];
  assert.ok(ram);
  const slots = new Map([...ram.indexes].map((page, slot) => [page, slot]));
  spaces[at] = { ...ram, indexes: ram.indexes.slice(0, kept), bytes: ram.bytes.slice(0, kept * pageBytes) };
  const absent = {
    indexes: ram.indexes.slice(kept),
    read: (page: number): Uint8Array => {
      fetched.push(page);
      const slot = slots.get(page) ?? 0;
      return ram.bytes.subarray(slot * pageBytes, (slot + 1) * pageBytes);
    },
  };
  return { rest: { ...snapshot, spaces }, absent, fetched };
}

function go(machine: Machine, instructions: bigint): string {
  machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode(work) });
  const end = machine.instructions + instructions;
  while (machine.instructions < end) machine.run({ instructions: end - machine.instructions });
  return machine.stateHash();
}

describe('restoring with absent pages', { timeout: 1_800_000 }, () => {
  let snapshot: MachineSnapshot | undefined;
  before(() => {
    buildModules(() => undefined);
  });

  for (const kind of ['interpreter', 'translator'] as const)
    test(`gives the same machine: ${kind}`, async (context) => {
      const image = await imageOrSkip(context, 'linux-cloud');
      if (image === undefined) return;
      if (snapshot === undefined) {
        const shell = await boot(image);
        shell.waitFor(/# /, bootInstructions);
        snapshot = shell.machine.snapshot({ full: true });
      }
      const whole = snapshot;
      const restore = (of: MachineSnapshot, absent?: AbsentPages): Promise<Machine> =>
        restoreMachine({
          snapshot: of,
          absent,
          engine: makeNodeEngine({ kind }),
          backends: { hash: nodeHash },
        });
      const expected = go(await restore(whole), 30_000_000n);

      const { rest, absent, fetched } = split(whole, 0);
      const lazy = await restore(rest, absent);
      const early = fetched.length;
      lazy.run({ instructions: 1000 });
      assert.ok(early <= 256 && fetched.length < early + 100, 'a start touches few pages');
      assert.ok(lazy.absentPages > 1000);
      // Changes since the snapshot, as the next checkpoint wants them, need no page that has not come.
      const some = await restore(rest, absent);
      const before = fetched.length;
      some.run({ instructions: 100_000 });
      const changes = some.snapshot();
      assert.ok(changes.spaces.every(({ full }) => !full));
      assert.ok(fetched.length - before < 1000 && some.absentPages > 1000);

      const other = split(whole, 500);
      const machine = await restore(other.rest, other.absent);
      // Some come unasked, and some of these are there already.
      const delivered = other.absent.indexes.slice(1000, 3000);
      const bytes = new Uint8Array(delivered.length * pageBytes);
      delivered.forEach((page, n) => bytes.set(other.absent.read(page), n * pageBytes));
      machine.deliver(delivered, bytes);
      assert.equal(go(machine, 30_000_000n), expected);
      assert.equal(machine.absentPages, 0, 'the hash needs all pages');
    });
});
