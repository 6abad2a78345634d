/**
 * Another process that goes on from a checkpoint of disk.test.ts: node disk-child.ts STORE VM BASE OUT
 *
 * Prints, as JSON, the state hash at the start and what the guest says of its files; writes the disk after an unmount to OUT.
 */
import { writeFileSync } from 'node:fs';
import { diskPageBytes, restoreMachine, type DiskBacking } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { FileStore, openBaseImage, openCheckpoint, PagePool } from '@revenant/storage';
import { Shell } from './shell.ts';

const [storePath = '', vm = '', base = '', out = ''] = process.argv.slice(2);
const store = await FileStore.open(storePath);
const pool = new PagePool({ threads: 0 });
const image = await openBaseImage(store, base, { pool });
const { pageCount } = image.info;
const bytes = await image.pages.read(Uint32Array.from({ length: pageCount }, (_, page) => page));
const backing: DiskBacking = {
  readPage: (page) =>
    page < pageCount ? bytes.subarray(page * diskPageBytes, (page + 1) * diskPageBytes) : undefined,
};
const reader = await openCheckpoint(store, vm, { pool });
const console: { shell?: Shell } = {};
const machine = await restoreMachine({
  snapshot: await reader.readSnapshot({ onBase: true }),
  engine: nodeEngine,
  backends: {
    hash: nodeHash,
    disks: { disk0: backing },
    serial: (port, byte) => {
      if (port === 0) console.shell?.received(byte);
    },
  },
});
const hash = machine.stateHash();
const shell = new Shell(machine);
console.shell = shell;
// The loop on the disk ends by itself when it finds this file.
shell.type('touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 1; done');
const sums = shell.type('cd /mnt && sha256sum -c sums; cd /; wc -l < /mnt/sums');
shell.type('umount /mnt');
const [disk] = machine.disks;
if (disk === undefined) throw new Error('the machine has no disk');
const content = new Uint8Array(disk.bytes);
disk.read(0, content);
writeFileSync(out, content);
process.stdout.write(`${JSON.stringify({ hash, sums })}\n`);
await pool.close();
await store.close();
