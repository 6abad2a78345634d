/** A guest that firmware starts: what its medium is, and the BIOS that starts it. */
import { existsSync, readFileSync } from 'node:fs';
import {
  planRom,
  type BootDevice,
  type BootPlan,
  type ImageKind,
  type MachineRequest,
} from '@revenant/emulator';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { builtinName } from '../images/builtin.ts';
import { findFirmware, firmwareRom } from '../images/firmware.ts';
import { recipeNames } from '../images/recipe.ts';
import type { DiskOption } from './disks.ts';
import { kindOfFile, type MediumOption } from './media-file.ts';
import type { RunOptions } from './options.ts';

export type Guessable = Pick<RunOptions, 'image' | 'kernel' | 'disks' | 'boot'>;

/** What each kind of file is called, and where its medium goes. */
const media: Partial<
  Record<ImageKind, { what: string; attach: 'ide' | 'cdrom' | 'floppy'; first: BootDevice }>
> = {
  raw: { what: 'a raw disk image, on the IDE controller', attach: 'ide', first: 'disk' },
  qcow2: { what: 'a qcow2 disk image, on the IDE controller', attach: 'ide', first: 'disk' },
  iso: { what: 'a disc (ISO 9660), in the CD drive', attach: 'cdrom', first: 'cdrom' },
  floppy: { what: 'a floppy disk, in drive A', attach: 'floppy', first: 'floppy' },
};

/** From the file that was named in place of an image: a kernel or a medium, guessed by its contents, which is said. Throws CliError. */
export async function guessMedium<O extends Guessable>(options: O, say: (line: string) => void): Promise<O> {
  const { image, ...rest } = options;
  if (image === undefined || [builtinName, ...(await recipeNames())].includes(image)) return options;
  if (!existsSync(image)) {
    if (!/[/.]/.test(image)) return options; // a name, of which is said what there is
    throw new CliError(
      ExitCode.badInput,
      `there is no file '${image}'`,
      'check the path; revenant images lists the images by name',
    );
  }
  const kind = kindOfFile(image);
  if (kind === 'kernel') {
    say(`'${image}' is a kernel, started directly`);
    return { ...(rest as O), kernel: image };
  }
  if (kind === 'empty') throw new CliError(ExitCode.badInput, `'${image}' is empty`, 'give a disk image');
  const { what, attach, first } = media[kind] ?? {
    what: `a ${kind.toUpperCase()} image`,
    attach: 'ide',
    first: 'disk',
  };
  say(`'${image}' is ${what}`);
  const medium: MediumOption = { path: image, mode: attach === 'cdrom' ? 'ro' : 'cow', attach };
  const order = [first, ...(['disk', 'cdrom', 'floppy'] as const).filter((one) => one !== first)];
  return {
    ...(rest as O),
    disks: [medium, ...(options.disks ?? [])] as DiskOption[],
    boot: options.boot ?? order,
  };
}

/** Nothing else starts the guest. */
export function usesFirmware({ image, kernel, bootSector, rom, restore }: RunOptions): boolean {
  return [image, kernel, bootSector, rom, restore].every((source) => source === undefined);
}

export interface LoadedFirmware {
  plan: BootPlan;
  description: Pick<
    MachineRequest,
    'boardVersion' | 'optionRomBytes' | 'bootOrder' | 'tripleFault' | 'memoryBytes'
  >;
}

export const firmwareMemoryBytes = 256 * 2 ** 20;

/** SeaBIOS, or the BIOS of a file, with SeaBIOS' VGA BIOS. Throws CliError where there is none. */
export async function firmwareImage(
  bios: string | undefined,
  say: (line: string) => void,
): Promise<{ rom: Uint8Array; optionRomBytes: number }> {
  const found = await findFirmware(say);
  return firmwareRom(bios === undefined ? found : { ...found, bios: readBios(bios) });
}

/** Throws CliError where there is no firmware. */
export async function loadFirmware(
  { bios, boot }: RunOptions,
  say: (line: string) => void,
): Promise<LoadedFirmware> {
  const { rom, optionRomBytes } = await firmwareImage(bios, say);
  const bootOrder = boot === undefined ? {} : { bootOrder: boot };
  return {
    plan: planRom(rom),
    description: {
      boardVersion: 2,
      optionRomBytes,
      tripleFault: 'reset',
      memoryBytes: firmwareMemoryBytes,
      ...bootOrder,
    },
  };
}

function readBios(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(
      ExitCode.badInput,
      `--bios: can't read '${path}': ${messageOf(error)}`,
      'check the path',
      error,
    );
  }
}
