/**
 * What Debian ships as bootable starts by SeaBIOS from CD, floppy and disk. The packages are fetched as guest images are, into the cache; without a
 * network the tests are skipped, and say so.
 */
import { before, describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { restoreMachine, type MachineRequest } from '@revenant/emulator';
import { buildModules, nodeHash } from '@revenant/emulator/host-node';
import { grubDiskOrSkip } from './grub-disk.ts';
import { fileOrSkip } from './media.ts';
import { fetchImage, readImageFile } from '../../packages/cli/src/images/image.ts';
import { CliError } from '../../packages/cli/src/errors.ts';
import { engine, firmwareOrSkip, Pc, type Medium } from './pc.ts';

before(() => {
  buildModules(() => undefined);
});

async function startOrSkip(
  context: TestContext,
  from: { name: string; path: string; attach: Medium['attach'] },
  description: MachineRequest = {},
): Promise<Pc | undefined> {
  const firmware = await firmwareOrSkip(context);
  const content = firmware && (await fileOrSkip(context, from.name, from.path));
  if (content === undefined || firmware === undefined) return undefined;
  const order = from.attach === 'cdrom' || from.attach === 'floppy' ? from.attach : 'disk';
  return Pc.start({ firmware, media: [{ attach: from.attach, content }], order: [order], description });
}

/** Debian's cloud kernel as it is packed, and the initrd of its image. */
async function kernelOrSkip(
  context: TestContext,
): Promise<{ kernel: Uint8Array; initrd: Uint8Array } | undefined> {
  try {
    const image = await fetchImage('linux-cloud', () => undefined);
    return { kernel: await readImageFile(image, 'bzImage'), initrd: await readImageFile(image, 'initrd') };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    context.skip(error.message);
    return undefined;
  }
}

/** The image for CDs starts from a hard disk too. */
const grub = (file: string, attach: Medium['attach']) => ({
  name: 'grub-rescue-pc',
  path: `usr/lib/grub-rescue/${file}`,
  attach,
});
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('OVMF gets through its phases and clears its console', { timeout: 900_000 }, async (context) => {
  const firmware = await firmwareOrSkip(context);
  const bios = firmware && (await fileOrSkip(context, 'ovmf', 'usr/share/ovmf/OVMF.fd'));
  if (bios === undefined || firmware === undefined) return;
  const floppy = { attach: 'floppy' as const, content: new Uint8Array(1_474_560) };
  const pc = await Pc.start({ firmware: { ...firmware, bios }, media: [floppy], order: ['floppy'] });
  pc.waitFor(/\[2J.\[01;01H/);
});

describe('SeaBIOS starts', { timeout: 900_000 }, () => {
  for (const from of [
    grub('grub-rescue-cdrom.iso', 'cdrom'),
    grub('grub-rescue-floppy.img', 'floppy'),
    grub('grub-rescue-cdrom.iso', 'ide'),
    grub('grub-rescue-cdrom.iso', 'virtio'),
  ])
    test(`GRUB from ${from.attach}`, async (context) => {
      const pc = await startOrSkip(context, from);
      if (pc === undefined) return;
      pc.waitFor(/GNU GRUB +version[^]*\*GNU\/Linux[^]*automatically in/);
      const picture = pc.machine.display.picture();
      assert.deepEqual([picture?.width, picture?.height], [720, 400]);
      pc.press('KeyC');
      pc.waitFor(/grub>/);
      for (const code of ['KeyL', 'KeyS', 'Enter']) pc.press(code);
      pc.waitFor(from.attach === 'floppy' ? /\(fd0\)/ : from.attach === 'cdrom' ? /\(cd[0-9]?\)/ : /\(hd0/);
    });

  const memtest = {
    name: 'memtest86+',
    path: 'usr/lib/memtest86+/memtest86+x64.iso',
    attach: 'cdrom',
  } as const;

  test('memtest86+ from CD, which tests memory and finds the processor', async (context) => {
    const pc = await startOrSkip(context, memtest);
    if (pc === undefined) return;
    pc.waitFor(/Memtest86\+ v6[^]*Revenant x86-64-v2[^]*Test #[1-9][^]*Status: Testing[^]*Errors: 0/);
  });

  test('memtest86+ on four processors, all of which test', async (context) => {
    const pc = await startOrSkip(context, memtest, { cpu: { count: 4 } });
    if (pc === undefined) return;
    pc.waitFor(
      /Test #[1-9][^]*4 Cores 4 Threads +SMP: 4T \(PAR\)[^]*Status: Testing[^]*All Cores[^]*Errors: 0/,
    );
    assert.match(pc.log.firmware, /Found 4 cpu\(s\)/);
  });

  test('iPXE by ISOLINUX from CD', async (context) => {
    const pc = await startOrSkip(context, { name: 'ipxe', path: 'usr/lib/ipxe/ipxe.iso', attach: 'cdrom' });
    if (pc === undefined) return;
    pc.waitFor(/ISOLINUX 6[^]*iPXE initialising devices[^]*Features: DNS HTTP/);
  });

  test("Debian's cloud kernel with its initrd, by GRUB from an ext4 partition of an IDE disk, up to a shell", async (context) => {
    const firmware = await firmwareOrSkip(context);
    const image = firmware && (await kernelOrSkip(context));
    if (firmware === undefined || image === undefined) return;
    const text = (lines: string): Uint8Array => new TextEncoder().encode(lines);
    const content = await grubDiskOrSkip(
      context,
      {
        'boot/vmlinuz': image.kernel,
        'boot/initrd': image.initrd,
        'boot/grub/grub.cfg': text(
          'set timeout=0\nmenuentry Debian {\nlinux /boot/vmlinuz console=ttyS0 cryptomgr.notests\ninitrd /boot/initrd\n}\n',
        ),
      },
      64,
    );
    if (content === undefined) return;
    const pc = await Pc.start({
      firmware,
      media: [{ attach: 'ide', content }],
      order: ['disk'],
      description: { memoryBytes: 128 << 20 },
    });
    pc.waitFor(/Linux version 6[^]*BIOS-e820[^]*DMI: Revenant[^]*ACPI: RSDP/, 8_000_000_000);
    pc.waitFor(/is up[^]*revenant:.*# /, 8_000_000_000);
  });

  test('a guest that is saved while GRUB loads from disk, CD and floppy goes on to the same state', async (context) => {
    for (const from of [
      grub('grub-rescue-cdrom.iso', 'cdrom'),
      grub('grub-rescue-floppy.img', 'floppy'),
      grub('grub-rescue-cdrom.iso', 'ide'),
    ]) {
      const pc = await startOrSkip(context, from);
      if (pc === undefined) return;
      const { machine } = pc;
      const device = from.attach === 'floppy' ? 'fdc-82077aa' : 'piix-ide';
      const state = (): string =>
        JSON.stringify(machine.deviceState(device), (_, value: unknown) =>
          typeof value === 'bigint' ? Number(value) : value,
        );
      const isBusy = (): boolean => /"dueAtNs":\d/.test(state());
      pc.waitFor(/Booting from|GRUB/);
      let saved = 0;
      for (let n = 0; n < 20_000 && saved < 3; n++) {
        machine.run({ instructions: 3_001 });
        if (!isBusy()) continue;
        saved++;
        const snapshot = machine.snapshot({ full: true });
        const other = await restoreMachine({
          snapshot,
          backends: { hash: nodeHash, disks: pc.backings },
          engine,
        });
        assert.equal(other.stateHash(), machine.stateHash());
        for (const one of [machine, other]) one.run({ instructions: 5_000_000 });
        assert.equal(other.stateHash(), machine.stateHash(), from.attach);
      }
      assert.ok(saved > 0, `${from.attach}: no transfer was met`);
    }
  });

  test('a disc is changed while the machine runs, as an input that the log repeats', async (context) => {
    const firmware = await firmwareOrSkip(context);
    if (firmware === undefined) return;
    const disc = (fill: number): Medium => ({
      attach: 'cdrom',
      content: new Uint8Array(64 * 2048).fill(fill),
    });
    const pc = await Pc.start({ firmware, media: [disc(1), disc(2)], order: ['cdrom'] });
    pc.machine.run({ instructions: 1_000_000 });
    const medium = (): unknown =>
      (pc.machine.deviceState('piix-ide') as { channels: { drives: { medium: unknown }[] }[] }).channels[1]
        ?.drives[0]?.medium;
    assert.equal(medium(), 0);
    for (const [image, now] of [
      [null, null],
      ['disk1', 1],
      ['disk7', 1],
      ['disk0', 0],
    ] as const) {
      pc.machine.input({ kind: 'medium', drive: 'cdrom', image });
      pc.machine.run({ instructions: 1000 });
      assert.equal(medium(), now);
    }
  });

  test('two runs of one boot are the same to the bit, picture and state', async (context) => {
    const runs: string[] = [];
    for (let n = 0; n < 2; n++) {
      const pc = await startOrSkip(context, grub('grub-rescue-floppy.img', 'floppy'));
      if (pc === undefined) return;
      for (let slice = 0; slice < 40; slice++) pc.machine.run({ instructions: 5_000_000 + n });
      pc.machine.run({ instructions: 40 * (1 - n) + 1 });
      runs.push(
        `${pc.machine.stateHash()} ${sha256(pc.machine.display.picture()?.rgba ?? new Uint8Array(0))}`,
      );
    }
    assert.equal(runs[0], runs[1]);
  });
});
