/** The readers of kernel data on memory made here, with layouts that the guests of test/linux have not, and on memory that is damaged. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { membersOf } from './btf.ts';
import { readKallsyms, tokenPattern, type SymbolTable } from './kallsyms.ts';
import { KernelDataError, KernelMemory, type ByteSource, type PointerBytes } from './kernel-memory.ts';
import type { KernelInside } from './locate.ts';
import { logLine, readLog } from './log.ts';
import { readProcesses, stateLetter } from './tasks.ts';
import { btfOf, kallsymsImage, kernelData, symbolNames, type Shape } from './testing.ts';

/** Memory that begins at an address, as one piece. */
const sourceOf = (bytes: Uint8Array, start: bigint): ByteSource => ({
  read(address, length) {
    const at = Number(address - start);
    return Promise.resolve(at < 0 ? new Uint8Array() : bytes.subarray(at, at + length));
  },
});

async function tablesIn(bytes: Uint8Array, pointerBytes: PointerBytes): Promise<SymbolTable[]> {
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(tokenPattern);
  const tables: SymbolTable[] = [];
  for await (const table of readKallsyms(sourceOf(bytes, 0n), BigInt(at), pointerBytes)) tables.push(table);
  return tables;
}

/** A kernel with the data at a base that KASLR might have chosen. */
function kernelOf(
  data: ReturnType<typeof kernelData>,
  pointerBytes: PointerBytes,
  names = true,
): KernelInside {
  const memory = new KernelMemory(sourceOf(data.bytes, data.base), pointerBytes);
  const addresses = new Map(names ? [['prb', data.prb]] : []);
  return {
    memory,
    symbols: { addresses, count: addresses.size },
    image: { address: data.base, bytes: data.bytes },
  };
}

const shapes: Shape[] = ([8, 4] as const).flatMap((pointerBytes) =>
  [true, false].flatMap((offsetsFirst) =>
    [true, false].map((percpu) => ({ pointerBytes, offsetsFirst, percpu })),
  ),
);

describe('symbols', () => {
  for (const shape of shapes)
    test(`are read from tables of ${JSON.stringify(shape)}`, async () => {
      const { bytes, addresses } = kallsymsImage(shape);
      const tables = await tablesIn(bytes, shape.pointerBytes);
      const right = tables.find(
        (table) => table.addresses.get('linux_banner') === addresses.get('linux_banner'),
      );
      assert.ok(right, `none of ${tables.length} tables is right`);
      assert.equal(right.count, symbolNames.length);
      assert.deepEqual(right.addresses, addresses);
    });

  test('of damaged tables are refused', async () => {
    const { bytes, namesAt } = kallsymsImage({ pointerBytes: 8, offsetsFirst: false, percpu: false });
    bytes.fill(0xff, namesAt, namesAt + 1);
    assert.deepEqual(await tablesIn(bytes, 8), []);
  });
});

describe('the log', () => {
  for (const pointerBytes of [8, 4] as const)
    for (const names of [true, false])
      test(`of a ${pointerBytes * 8}-bit kernel ${names ? 'with' : 'without'} its symbol is read in order`, async () => {
        const records = await readLog(kernelOf(kernelData(pointerBytes), pointerBytes, names));
        assert.deepEqual(
          records.map(({ sequence, level, text }) => [sequence, level, text]),
          // Record 42 was not finished; 43 has no text; 44 goes around the end of the text.
          [
            [40, 6, 'first that is left'],
            [41, 3, 'two\nlines'],
            [43, 6, ''],
            [44, 4, 'wrapped around the end'],
            [45, 6, 'newest'],
          ],
        );
        assert.equal(logLine(records[1]!), '[   41.000500] two\n               lines');
      });

  test('that is not there is named in one line', async () => {
    const data = kernelData(8);
    data.bytes.fill(0);
    for (const names of [true, false])
      await assert.rejects(readLog(kernelOf(data, 8, names)), KernelDataError);
  });
});

describe('processes', () => {
  const expected = [
    [1, 0, 'S', false, 'init'],
    [2, 0, 'S', true, 'kthreadd'],
    [7, 2, 'I', true, 'kworker/0:1'],
    [90, 1, 'R', false, 'sh (busy)'],
  ];
  for (const pointerBytes of [8, 4] as const)
    for (const btf of [true, false])
      test(`of a ${pointerBytes * 8}-bit kernel ${btf ? 'with' : 'without'} BTF are listed`, async () => {
        const { layout, processes } = await readProcesses(
          kernelOf(kernelData(pointerBytes, { btf }), pointerBytes),
        );
        assert.equal(layout, btf ? 'BTF' : 'the tasks');
        assert.deepEqual(
          processes.map(({ pid, parent, state, kernel, name }) => [pid, parent, state, kernel, name]),
          expected,
        );
      });

  test('are not invented where the list is broken', async () => {
    const data = kernelData(8);
    data.bytes.fill(0, data.taskAt[2]!, data.taskAt[2]! + 1024);
    await assert.rejects(readProcesses(kernelOf(data, 8)), KernelDataError);
  });

  test('have the letters of ps', () => {
    assert.deepEqual(
      [0, 1, 2, 0x402, 4, 8, 0x2001, 0x200].map((state) => stateLetter(state)).join(''),
      'RSDITtSR',
    );
    assert.equal(stateLetter(0x80, 0x20), 'Z');
    assert.equal(stateLetter(undefined), '?');
  });
});

test('BTF gives members, those of unnamed unions too, and none when it is cut off', () => {
  const members = new Map([
    ['pid', 100],
    ['comm', 240],
  ]);
  const blob = btfOf('task_struct', members);
  assert.deepEqual(membersOf(blob, 'task_struct'), members);
  assert.equal(membersOf(blob, 'mm_struct'), undefined);
  for (let length = 0; length < blob.length; length++)
    assert.equal(membersOf(blob.subarray(0, length), 'task_struct'), undefined);
});

test('whatever byte is damaged, there is an answer or a KernelDataError', async () => {
  let seed = 0x2545_f491;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed % below;
  };
  let refused = 0;
  for (let round = 0; round < 60; round++) {
    const pointerBytes = round % 2 === 0 ? 8 : 4;
    const data = kernelData(pointerBytes, { btf: round % 3 === 0 });
    for (let flips = 0; flips < 40; flips++) data.bytes[random(data.used)] = random(256);
    for (const read of [readLog, readProcesses])
      await read(kernelOf(data, pointerBytes, round % 4 < 2)).catch((error: unknown) => {
        assert.ok(error instanceof KernelDataError, String(error));
        refused++;
      });
  }
  assert.ok(refused > 0 && refused < 120, `${refused} of 120 were refused`);
});
