/** A disk image with GRUB in front of an ext4 partition, made without privileges from Debian's packages. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { run, unpackedOrSkip } from './media.ts';

const sector = 512;
/** Where the partition begins: 1 MiB, as installers have it. */
const firstSector = 2048;
/** Of boot.img: where it finds the sector of what it loads; of the first sector of core.img: the same, of its rest. */
const bootAt = 0x5c;
const restAt = 0x1f4;

/** @param files contents by their paths on the partition */
export async function grubDiskOrSkip(
  context: TestContext,
  files: Readonly<Record<string, Uint8Array>>,
  megabytes: number,
): Promise<Uint8Array | undefined> {
  if (spawnSync('mkfs.ext4', ['-V']).status !== 0) {
    context.skip('there is no mkfs.ext4 here (Debian: e2fsprogs)');
    return undefined;
  }
  const tools = await unpackedOrSkip(context, 'grub-pc', [
    'grub-pc-bin',
    'grub-common',
    'libdevmapper1.02.1',
  ]);
  if (tools === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'revenant-grub-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(folder, 'root', path, '..'), { recursive: true });
      await writeFile(join(folder, 'root', path), content);
    }
    run(
      'mkfs.ext4',
      '-q',
      '-F',
      '-O',
      '^metadata_csum_seed',
      '-d',
      join(folder, 'root'),
      join(folder, 'partition'),
      `${String(megabytes)}M`,
    );
    const modules = join(tools, 'usr/lib/grub/i386-pc');
    const library = join(tools, 'lib/x86_64-linux-gnu');
    run(
      'env',
      `LD_LIBRARY_PATH=${library}`,
      join(tools, 'usr/bin/grub-mkimage'),
      '-d',
      modules,
      '-O',
      'i386-pc',
      '-o',
      join(folder, 'core.img'),
      '-p',
      '(hd0,msdos1)/boot/grub',
      'biosdisk',
      'part_msdos',
      'ext2',
      'normal',
      'linux',
      'serial',
      'configfile',
    );
    return layOut(
      await readFile(join(modules, 'boot.img')),
      await readFile(join(folder, 'core.img')),
      await readFile(join(folder, 'partition')),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function layOut(boot: Buffer, core: Buffer, partition: Buffer): Uint8Array {
  assert.ok(sector + core.length <= firstSector * sector);
  const disk = Buffer.alloc(firstSector * sector + partition.length);
  boot.copy(disk, 0, 0, 446);
  disk.writeBigUInt64LE(1n, bootAt);
  disk.set([0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff], 446);
  disk.writeUInt32LE(firstSector, 454);
  disk.writeUInt32LE(partition.length / sector, 458);
  disk.set([0x55, 0xaa], 510);
  core.copy(disk, sector);
  disk.writeBigUInt64LE(2n, sector + restAt);
  partition.copy(disk, firstSector * sector);
  return disk;
}
