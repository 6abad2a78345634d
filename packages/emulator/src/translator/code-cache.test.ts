/** Which regions stay when there are too many, and that a guest never notices which. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TestCpu } from '../cpu/testing/test-cpu.ts';
import type { CodeBounds } from './code-cache.ts';

const base = 0x10_0000;
const turns = 300;
const perTurn = 4;
const pages = 40;

/** In page `n`: adds ECX + n to RAX `turns` times, then jumps to itself. */
function loopAt(cpu: TestCpu, n: number): void {
  // add rax, rcx; add rax, n; dec ecx; jnz to the first; jmp to itself
  cpu.write(base + n * 4096, [0x48, 0x01, 0xc8, 0x48, 0x83, 0xc0, n, 0xff, 0xc9, 0x75, 0xf5, 0xeb, 0xfe]);
}

async function withLoops(bounds?: Partial<CodeBounds>): Promise<TestCpu> {
  const engine = bounds === undefined ? {} : ({ kind: 'translator', bounds } as const);
  const cpu = await TestCpu.create({ hotThreshold: 50, ...engine });
  cpu.flat(64);
  for (let n = 0; n < pages; n++) loopAt(cpu, n);
  return cpu;
}

function runLoop(cpu: TestCpu, n: number): void {
  cpu.set('rip', base + n * 4096);
  cpu.set('rcx', turns);
  cpu.run(turns * perTurn);
}

const sum = (n: number): bigint => BigInt((turns * (turns + 1)) / 2 + turns * n);

describe('too many regions', () => {
  for (const bounds of [{ modules: 8 }, { bytes: 6000 }])
    test(`those that were entered last stay: ${JSON.stringify(bounds)}`, async () => {
      const cpu = await withLoops(bounds);
      const { cache, statistics } = cpu.engine.translator!;
      const check = (n: number): void => {
        const before = cpu.get('rax');
        runLoop(cpu, n);
        assert.equal(cpu.get('rax') - before, sum(n));
      };
      for (let n = 1; n < pages; n++) {
        check(0);
        check(n);
        assert.ok(cache.modules <= (bounds.modules ?? Infinity));
      }
      assert.ok(cache.evicted > pages / 2, `${cache.evicted} went`);
      assert.equal(statistics.regions, pages, 'each was made once');
      check(0);
      assert.equal(statistics.regions, pages, 'the one that was entered again and again is there');
      check(1);
      assert.equal(statistics.regions, pages + 1, 'the first of the others is not');
    });

  test('what goes, and when, changes nothing', async () => {
    const cpu = await withLoops({ modules: 6 });
    const plain = await withLoops();
    const { cache } = cpu.engine.translator!;
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let round = 0; round < 400; round++) {
      if (random(3) === 0) {
        const n = random(pages);
        for (const each of [cpu, plain]) {
          each.set('rip', base + n * 4096);
          each.set('rcx', turns);
        }
      }
      // Code that changes: the same bytes are written again.
      if (random(8) === 0) {
        const n = random(pages);
        for (const each of [cpu, plain]) loopAt(each, n);
      }
      if (random(4) === 0) cache.evict(random(11) / 10);
      const budget = 1 + random(2000);
      for (const each of [cpu, plain]) each.run(budget);
      for (const name of ['rax', 'rcx', 'rip'] as const)
        assert.equal(cpu.get(name), plain.get(name), `${name} in round ${round}`);
      assert.equal(cpu.flags, plain.flags);
    }
    assert.ok(cache.evicted > 20);
  });
});
