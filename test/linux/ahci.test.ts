/** Debian's standard kernel with a disk on the AHCI controller: written, read, and resumed in the middle of its transfers. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { boot, bootInstructions, imageOrSkip, resume } from './shell.ts';

const diskBytes = 16 * 2 ** 20;
const sumOfDisk = 'dd if=/dev/sda bs=1M count=8 2>/dev/null | sha256sum';

describe('a disk on AHCI', { timeout: 600_000 }, () => {
  before(() => {
    buildModules(() => undefined);
  });

  test('what Linux writes is read again, and a checkpoint in the middle of a transfer changes nothing', async (context) => {
    const image = await imageOrSkip(context, 'linux-amd64');
    if (image === undefined) return;
    const shell = await boot(image, {
      requests: [{ name: 'disk0', bytes: diskBytes, attach: 'ahci' }],
      description: { boardVersion: 2 },
    });
    shell.waitFor(/# /, bootInstructions);
    assert.match(shell.type('dmesg | grep -E "ata1|sda"'), /SATA link up 1\.5 Gbps[\s\S]*REVENANT DISK/);
    assert.match(shell.type('cat /sys/block/sda/size'), new RegExp(`^${String(diskBytes / 512)}$`, 'm'));
    const prepare =
      'i=0; while [ $i -lt 4 ]; do i=$((i + 1)); cat /bin/busybox; done | head -c 8388608 >/tmp/data';
    shell.type(
      `${prepare}; truncate -s 8388608 /tmp/data; dd if=/tmp/data of=/dev/sda bs=1M 2>/dev/null; sync`,
    );
    const sum = /[0-9a-f]{64}/.exec(shell.type('sha256sum /tmp/data'))?.[0];
    assert.ok(sum);
    shell.type('echo 3 >/proc/sys/vm/drop_caches');

    shell.machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode(`${sumOfDisk}\n`) });
    const { machine } = shell;
    const { requests } = machine.disks[0] ?? { requests: 0 };
    while ((machine.disks[0]?.requests ?? 0) < requests + 20) machine.run({ instructions: 10_000 });
    const lives = [shell, await resume(machine.snapshot({ full: true }))];
    const seen = lives.map((one) => {
      assert.match(one.waitFor(/[0-9a-f]{64}/, 1_000_000_000n), new RegExp(sum));
      one.machine.run({ instructions: 3_000_000 });
      return one.machine.stateHash();
    });
    assert.equal(seen[0], seen[1]);
  });
});
