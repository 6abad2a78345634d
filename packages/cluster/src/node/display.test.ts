/** The screen of a VM for those who watch it, and what they do before it, through kills and moves. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drawing } from '../../test-support/drawing-guest.ts';
import { ClusterClient } from '../client/cluster-client.ts';
import { NodeProcess } from '../demo/processes.ts';
import type { DisplayPicture } from '../protocol/display-ends.ts';
import { until } from '../testing/until.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-display-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const main = fileURLToPath(new URL('../../test-support/node-with-listening-guest.ts', import.meta.url));
const presses = 40;

/** How long the drawn line of each count is. */
function counted({ width, rgba }: DisplayPicture): number[] {
  const reds = (line: number): number => {
    const row = rgba.subarray(line * drawing.line * width * 4, (line * drawing.line + 1) * width * 4);
    let found = 0;
    for (let at = 0; at < row.length; at += 4) if (row[at] === 255) found++;
    return found;
  };
  return [0, 1, 2, 3, 4].map(reds);
}

for (const outputs of ['async', 'log'] as const)
  test(`each key and movement reaches the guest once through a kill and a move, and its screen is shown (outputs: ${outputs})`, async () => {
    const nodes = new Map<string, NodeProcess>();
    for (const name of ['a', 'b', 'c']) {
      const logFile = join(folder, `${outputs}-${name}.log`);
      const place = { store: `file:${folder}/${outputs}`, name: `${outputs}-${name}` };
      nodes.set(place.name, await NodeProcess.start({ ...place, profile: 'default', logFile, main }));
    }
    const client = new ClusterClient({ nodes: [...nodes.values()].map(({ address }) => address) });
    let shown: number[] = [];
    let pictures = 0;
    const said: string[] = [];
    const follower = client.display('v', {
      shown: (picture, _changed, isWhole) => {
        if (picture !== undefined && isWhole) shown = counted(picture);
        pictures++;
      },
      said: (line) => said.push(line),
    });
    const press = async (code: string): Promise<void> => {
      for (let n = 0; n < presses; n++) {
        const key = { kind: 'key', code } as const;
        const move = { kind: 'mouse', dx: 2, dy: 0, dz: 0, buttons: 0 } as const;
        await until('room', () =>
          follower.act([{ ...key, pressed: true }, { ...key, pressed: false }, move]),
        );
      }
    };
    const shows = (counts: number[]): Promise<void> =>
      until(`the screen shows ${counts.join(' ')}`, () => shown.join() === counts.join());
    const holder = async (): Promise<NodeProcess> => {
      const { assignment } = await client.waitFor('v', ['running']);
      return nodes.get(assignment!.node)!;
    };
    try {
      const spec = { runtime: 'draws', description: {}, memoryMiB: 16, priority: 1, outputs };
      await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
      await holder();
      await press('KeyA');
      await shows([presses, 0, 0, 0, 2 * presses]);
      assert.equal(follower.takesTablet, true);
      await press('KeyB');
      (await holder()).kill();
      await press('KeyC');
      await shows([presses, presses, presses, 0, 6 * presses]);
      // What it shows may be ahead of what the list says.
      await holder();
      await client.command({ type: 'vm-migrate', vmId: 'v' });
      await press('KeyD');
      await shows([presses, presses, presses, presses, 8 * presses]);
      await until('all of it is acknowledged', () => follower.unacknowledged === 0);
      assert.ok(!said.some((line) => line.includes('lost')), said.join('; '));
      assert.ok(pictures > 0);
      const { width, height } = await client.picture('v', 300_000);
      assert.deepEqual({ width, height }, { width: drawing.width, height: drawing.height });
    } finally {
      follower.close();
      await client.close();
      for (const node of nodes.values()) node.kill();
      await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
    }
  });
