/** The checker of the chaos test finds what it is there to find. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chainGuest, type ClusterEvent } from '@revenant/cluster';
import { imageOrSkip } from '../linux/shell.ts';
import { AnswerChecker } from './answer-checker.ts';
import { ByteChecker } from './byte-checker.ts';
import { seeded } from './faults.ts';
import { insideNodes, makeNetwork } from './network.ts';
import { nodeNames, runChaos } from './run.ts';
import { givenUp, repeatedWithoutLeave, takenBackWithoutLeave, violations } from './verdict.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-chaos-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

for (const [how, make, minutes, output] of [
  ['in the best network to be had', () => makeNetwork(nodeNames(3)), 0.3, 'async'],
  ['with cuts inside the nodes', () => insideNodes, 0.15, 'async'],
  ['with outputs behind a log', () => insideNodes, 0.25, 'log'],
] as const)
  test(
    `a short chaos run ${how}: no chain breaks, no epoch runs twice, all VMs come back`,
    { timeout: 1_800_000 },
    async () => {
      const network = make();
      const said: string[] = [network.title];
      try {
        const result = await runChaos({
          ...{
            store: `file:${folder}/store-${minutes}`,
            folder: join(folder, `logs-${minutes}`),
            seed: 12,
            minutes,
          },
          ...{ profile: 'fast', nodes: 3, vms: 3, output, network, say: (line: string) => said.push(line) },
        });
        assert.deepEqual(result.violations, [], said.join('\n'));
        assert.ok(result.faults >= 2 && result.steps > 100, JSON.stringify(result));
      } finally {
        network.end();
      }
    },
  );

test('a short chaos run with a guest that answers over its network: each request counts once, and its connections go on', async (context) => {
  const image = await imageOrSkip(context, 'linux-cloud');
  if (image === undefined) return;
  const said: string[] = [];
  const result = await runChaos({
    ...{ store: `file:${folder}/store-served`, folder: join(folder, 'logs-served'), seed: 12, minutes: 0.25 },
    ...{
      profile: 'default',
      nodes: 3,
      vms: 1,
      output: 'log',
      served: { image, count: 1 },
      network: insideNodes,
    },
    say: (line: string) => said.push(line),
  });
  assert.deepEqual(result.violations, [], said.join('\n'));
  assert.ok(result.faults >= 2 && result.answers > 20, JSON.stringify(result));
});

test('a request that counts twice, an answer to another one, and one that was taken back are found', () => {
  const hear = (...lines: readonly (string | undefined)[]): AnswerChecker => {
    const checker = new AnswerChecker();
    lines.forEach((line, n) => {
      checker.asks(`r${n + 1}`);
      if (line === undefined) checker.broke();
      else checker.hear(line);
    });
    return checker;
  };
  assert.equal(hear('r1 1', 'r2 2', 'r3 3').fault, undefined);
  assert.match(hear('r1 1', 'r2 3').fault ?? '', /counted twice/);
  assert.match(hear('r1 1', 'r1 2').fault ?? '', /an answer to r2 comes next/);
  assert.match(hear('r1 1', 'r2 1').fault ?? '', /taken back/);
  // A request whose connection broke counts at once, later, or never; but once.
  assert.equal(hear('r1 1', undefined, 'r3 3').fault, undefined);
  assert.equal(hear('r1 1', undefined, 'r3 2', 'r4 4').fault, undefined);
  assert.match(hear('r1 1', undefined, 'r3 3', 'r4 5').fault ?? '', /counted twice/);
  assert.equal(hear('r1 1', 'r2 2', undefined, 'r4 2').takenBack, 1);
});

test('an answer that was taken back though not both the owner and its standby ended is found', () => {
  const lost: ClusterEvent = { event: 'standby-lost', vm: 'v', reason: '', atMs: 1, by: 'a' };
  assert.deepEqual(takenBackWithoutLeave([lost], [{ id: 'v', takenBack: 1 }]), []);
  assert.match(takenBackWithoutLeave([], [{ id: 'v', takenBack: 1 }])[0] ?? '', /^v: .* 1 times/);
});

test('a byte that is lost, doubled or changed is found, and where it is', () => {
  const { rule } = chainGuest;
  const first = `step 1 ${rule.next(rule.first, 1)}\n`;
  const heard = (...texts: string[]): ByteChecker => {
    const checker = new ByteChecker(rule);
    for (const text of texts) checker.hear(Buffer.from(text));
    return checker;
  };
  assert.equal(heard(first.slice(0, 9), first.slice(9), 'step 2 ').fault, undefined);
  assert.equal(heard(first).bytes, first.length);
  assert.match(heard(first, first).fault ?? '', /^byte 72: heard "step 1 .*", where "step 2 /);
  assert.match(heard(first.slice(0, 9), first.slice(10)).fault ?? '', /^byte 9: /);
  const repeating = heard(first, 'step 2 ');
  repeating.said('9 bytes of output may be repeated here');
  repeating.hear(Buffer.from(`${first.slice(-2)}step 2 `));
  assert.equal(repeating.fault, undefined);
  assert.deepEqual(repeating.repeats, [9]);
  assert.equal(repeating.bytes, first.length + 7);
  repeating.said('9 bytes of output may be repeated here');
  repeating.hear(Buffer.from('step 2 '));
  assert.match(repeating.fault ?? '', /heard "step 2/);
  const more = heard(first);
  more.said('80 bytes of output may be repeated here');
  assert.equal(more.fault, '80 bytes of output may be repeated here');
});

test('an epoch that ran on two nodes, and a VM taken from a node that was only cut off, are found', () => {
  const event = (name: string, more: Partial<ClusterEvent>): ClusterEvent => ({
    event: name,
    reason: '',
    atMs: 100,
    by: 'a',
    ...more,
  });
  const ran = (node: string, epoch: number): ClusterEvent =>
    event('vm-executes', { vm: 'v', node, reason: `first instructions under epoch ${epoch}` });
  assert.deepEqual(violations([ran('a', 1), ran('b', 2), ran('a', 3)], []), []);
  assert.deepEqual(violations([ran('a', 1), ran('b', 1)], []), ['v epoch 1 ran on a and on b']);
  const lost = event('vm-lost', { vm: 'v', node: 'a', reason: 'a is fenced' });
  assert.match(violations([lost], [{ node: 'a', fromMs: 50, toMs: 150 }])[0] ?? '', /v was taken from a/);
  assert.deepEqual(violations([lost], [{ node: 'b', fromMs: 50, toMs: 150 }]), []);
});

test('output that came again though not both the owner and its standby ended is found', () => {
  const lost: ClusterEvent = { event: 'standby-lost', vm: 'v', reason: '', atMs: 1, by: 'a' };
  assert.deepEqual(repeatedWithoutLeave([lost], [{ id: 'v', repeats: [9] }]), []);
  assert.match(repeatedWithoutLeave([lost], [{ id: 'v', repeats: [9, 4] }])[0] ?? '', /^v: 9, 4 bytes/);
  assert.equal(repeatedWithoutLeave([lost], [{ id: 'w', repeats: [9] }]).length, 1);
});

test('a VM that was given up for its nodes is told from one that failed otherwise', () => {
  const failed = (id: string, reason: string): { id: string; status: string; reason: string } => ({
    id,
    status: 'failed',
    reason,
  });
  const blamed = failed('v', 'gave up after 5 tries: a, b, a, b, a ended, one after the other, soon after …');
  assert.deepEqual(
    givenUp([blamed, failed('w', 'gave up after 5 tries: did not start'), { ...blamed, status: 'running' }]),
    ['v'],
  );
});

test('a seed gives the same numbers again', () => {
  const [one, two] = [seeded(7), seeded(7)];
  const numbers = Array.from({ length: 5 }, one);
  assert.deepEqual(numbers, Array.from({ length: 5 }, two));
  assert.ok(numbers.every((n) => n >= 0 && n < 1));
});
