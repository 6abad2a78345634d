/**
 * `revenant run --restore`: a guest whose memory comes while it runs is the same machine as one that had all of it at once; and a
 * store that fails meanwhile makes it wait, and says so.
 */
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { restoreMachine, type Machine } from '@revenant/emulator';
import { makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import {
  CheckpointFileSource,
  importCheckpointFile,
  openStore,
  raiseEpoch,
  readCheckpointFile,
  type ObjectStore,
} from '@revenant/storage';
import { SmallS3 } from '../../test-support/small-s3.ts';

const program = join(import.meta.dirname, '../main.ts');
/** Fills 8 MiB, then adds all of it up, again and again: once through takes 10.5 million instructions. */
// prettier-ignore
const guest = [
  0xfa,                                     // cli
  0x31, 0xc0, 0x8e, 0xd8,                   // xor ax, ax; mov ds, ax
  0x0f, 0x01, 0x16, 0x60, 0x7c,             // lgdt [0x7c60]
  0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, // mov eax, cr0; or al, 1; mov cr0, eax
  0xea, 0x17, 0x7c, 0x08, 0x00,             // jmp 8:0x7c17
  0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, // mov ax, 16; mov ds, ax; mov es, ax
  0xbf, 0x00, 0x00, 0x10, 0x00,             // mov edi, 1 MiB
  0xb8, 0x01, 0x00, 0x00, 0x00,             // mov eax, 1
  0x69, 0xc0, 0x0d, 0x66, 0x19, 0x00,       // fill: imul eax, eax, 1664525
  0x05, 0x5f, 0xf3, 0x6e, 0x3c, 0xab,       // add eax, 1013904223; stosd
  0x81, 0xff, 0x00, 0x00, 0x90, 0x00, 0x72, 0xec, // cmp edi, 9 MiB; jb fill
  0xbe, 0x00, 0x00, 0x10, 0x00,             // again: mov esi, 1 MiB
  0x03, 0x1e, 0xd1, 0xc3, 0x83, 0xc6, 0x04, // sum: add ebx, [esi]; rol ebx, 1; add esi, 4
  0x81, 0xfe, 0x00, 0x00, 0x90, 0x00, 0x72, 0xf1, 0xeb, 0xea, // cmp esi, 9 MiB; jb sum; jmp again
];
// prettier-ignore
const tables = [
  0x17, 0x00, 0x68, 0x7c, 0x00, 0x00, 0x00, 0x00, // 7C60: the GDT's limit and base
  0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // 7C68: the GDT; then flat code and data, SDM Vol. 3A 3.4.5
  0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf, 0x00,
  0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0xcf, 0x00,
];
const savedAt = 12_000_000;
const further = 15_000_000;
const limitReached = 12;

let folder: string;
let file: string;
let expected: string;

interface Result {
  code: number | null;
  error: string;
}

function revenant(words: string[], onError: (text: string) => void = () => undefined): Promise<Result> {
  return new Promise((resolve) => {
    const env = { ...process.env, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
    const child = spawn(process.execPath, [program, 'run', ...words], { env, timeout: 1_800_000 });
    let error = '';
    child.stderr.on('data', (bytes: Buffer) => {
      error += bytes.toString();
      onError(error);
    });
    child.on('close', (code) => {
      resolve({ code, error });
    });
  });
}

async function load(path: string): Promise<Machine> {
  const snapshot = await readCheckpointFile(path);
  return restoreMachine({
    snapshot,
    engine: makeNodeEngine({ kind: 'interpreter' }),
    backends: { hash: nodeHash },
  });
}

/** Puts the saved checkpoint into a store, as that of `vm1`. */
async function importInto(store: ObjectStore): Promise<void> {
  const source = await CheckpointFileSource.open(file);
  await importCheckpointFile(store, await raiseEpoch(store, 'vm1', { owner: 'test' }), source);
  await source.close();
}

/** Words that go on from a checkpoint for some instructions, and save what came of it. */
function goOn(from: string[], into: string): string[] {
  return ['--restore', ...from, '--serial', 'none', '--max-instructions', String(further), '--save', into];
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-restore-'));
  file = join(folder, 'saved.checkpoint');
  const sector = new Uint8Array(512);
  sector.set(guest);
  sector.set(tables, 0x60);
  sector.set([0x55, 0xaa], 510);
  await writeFile(join(folder, 'sector'), sector);
  const words = ['--boot-sector', join(folder, 'sector'), '--memory', '16M', '--serial', 'none'];
  const saved = await revenant([...words, '--max-instructions', String(savedAt), '--save', file]);
  assert.equal(saved.code, limitReached, saved.error);
  const machine = await load(file);
  while (machine.instructions < BigInt(savedAt + further))
    machine.run({ instructions: BigInt(savedAt + further) - machine.instructions });
  expected = machine.stateHash();
});
after(() => rm(folder, { recursive: true, force: true }));

describe('run --restore', { timeout: 1_800_000 }, () => {
  test('from a file gives the same machine', async () => {
    const into = join(folder, 'from-file.checkpoint');
    const { code, error } = await revenant(goOn([file], into));
    assert.equal(code, limitReached, error);
    assert.equal((await load(into)).stateHash(), expected);
  });

  test('from a store that fails meanwhile waits, says so, and gives the same machine', async () => {
    const s3 = await SmallS3.start();
    try {
      await importInto(s3.store);
      let reads = 0;
      s3.failing = (key) => key.includes('/packs/') && ++reads > 4;
      const into = join(folder, 'from-store.checkpoint');
      const { code, error } = await revenant(goOn(['vm1', '--store', s3.url], into), (text) => {
        if (text.includes('the guest waits')) s3.failing = () => false;
      });
      assert.equal(code, limitReached, error);
      assert.match(error, /^revenant: the guest waits for the store \(ram: .+\); 'kill \d+' ends it$/m);
      assert.match(error, /^revenant: the guest goes on after [\d.]+ s: the store answers again$/m);
      assert.equal((await load(into)).stateHash(), expected);
    } finally {
      s3.close();
    }
  });

  test('from a damaged store ends with one line', async () => {
    const s3 = await SmallS3.start();
    try {
      await importInto(s3.store);
      const { objects } = await s3.store.list('vms/vm1/packs/');
      const biggest = objects.reduce((a, b) => (a.sizeBytes > b.sizeBytes ? a : b)).key;
      const { body } = (await s3.store.get(biggest)) ?? assert.fail();
      await s3.store.put(
        biggest,
        body.map((byte, i) => (i > body.length / 2 ? byte ^ 1 : byte)),
      );
      const { code, error } = await revenant(goOn(['vm1', '--store', s3.url], join(folder, 'none')));
      assert.equal(code, 4, error);
      assert.match(error, /damaged|checksum/i);
      assert.doesNotMatch(error, /^ +at /m);
    } finally {
      s3.close();
    }
  });

  test('refuses what can not be', async () => {
    const url = `file:${folder}/empty`;
    await (await openStore(url)).close();
    for (const [words, reason] of [
      [['--restore', file, '--store', 's3://b/'], /is a path, and no VM/],
      [['--store', 'memory:', 'builtin'], /nothing is restored/],
      [['--restore', 'vm1', '--store', `file:${folder}/none`], /there is no store at/],
      [['--restore', 'vm1', '--store', `file:${folder}`], /there is no store at/],
      [['--restore', 'vm9', '--store', url], /no VM 'vm9'/],
    ] as const) {
      const { code, error } = await revenant([...words, '--max-instructions', '1', '--serial', 'none']);
      assert.ok(code !== 0, words.join(' '));
      assert.match(error, reason);
    }
  });
});
