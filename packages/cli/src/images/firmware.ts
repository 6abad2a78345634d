/**
 * SeaBIOS and its VGA BIOS: from where Debian's package installs them, else from the package itself, fetched as guest images are. They are kept in
 * the cache; nothing of the host changes.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { PrivateApt, readPackageFiles } from './apt.ts';
import { cacheFolder } from './cache.ts';

const installed = '/usr/share/seabios';
const names = { bios: 'bios-256k.bin', vga: 'vgabios-stdvga.bin' } as const;

export interface Firmware {
  bios: Uint8Array;
  /** Of the display. */
  vga: Uint8Array;
}

async function readBoth(folder: string): Promise<Firmware | undefined> {
  try {
    return { bios: await readFile(join(folder, names.bios)), vga: await readFile(join(folder, names.vga)) };
  } catch {
    return undefined;
  }
}

async function fetchFirmware(folder: string, say: (line: string) => void): Promise<Firmware> {
  const temporary = `${folder}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    const apt = new PrivateApt(join(cacheFolder(), 'apt', 'amd64'), 'amd64');
    say('seabios: fetching package lists');
    await apt.update();
    say('seabios: downloading');
    const deb = await apt.download('seabios', temporary);
    const [bios, vga] = await readPackageFiles(deb.path, [
      new RegExp(`^usr/share/seabios/${names.bios}$`),
      new RegExp(`^usr/share/seabios/${names.vga}$`),
    ]);
    if (bios === undefined || vga === undefined)
      throw new CliError(
        ExitCode.unavailable,
        'the package seabios has no firmware',
        'give it with --bios FILE',
      );
    await rm(deb.path);
    await writeFile(join(temporary, names.bios), bios);
    await writeFile(join(temporary, names.vga), vga);
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
    return { bios, vga };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Throws CliError where there is none and none can be had. */
export async function findFirmware(say: (line: string) => void): Promise<Firmware> {
  const folder = join(cacheFolder(), 'firmware', 'seabios');
  const found = (await readBoth(installed)) ?? (await readBoth(folder));
  if (found !== undefined) return found;
  try {
    return await fetchFirmware(folder, say);
  } catch (error) {
    throw new CliError(
      ExitCode.unavailable,
      `there is no firmware to start from a disk: ${messageOf(error)}`,
      "install Debian's package seabios, or give a SeaBIOS image with --bios FILE",
      error,
    );
  }
}

const page = 4096;

/** One image for the machine's ROM: the VGA BIOS first, the BIOS so that it ends at 4 GiB. */
export function firmwareRom({ bios, vga }: Firmware): { rom: Uint8Array; optionRomBytes: number } {
  const optionRomBytes = Math.ceil(vga.length / page) * page;
  const rom = new Uint8Array(optionRomBytes + bios.length);
  rom.set(vga);
  rom.set(bios, optionRomBytes);
  return { rom, optionRomBytes };
}
