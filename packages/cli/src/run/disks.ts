/**
 * Disks of `revenant run`: image files as what lies below a machine's disks. A file is never changed (the guest's writes stay in the
 * machine and go into its checkpoints) unless it is opened with `rw`.
 */
import type { DiskAttachment, DiskBacking, DiskDescription, DiskRequest } from '@revenant/emulator';
import type { Parser } from '../command/options.ts';
import { CliError, ExitCode } from '../errors.ts';
import { MediumFile, type DiskMode, type MediumOption } from './media-file.ts';

export type DiskOption = MediumOption | { emptyBytes: number };

const words = ['ro', 'rw', 'ide', 'ahci', 'virtio', 'backing'] as const;

/** `FILE`, with `,ro` or `,rw`, `,ide`, and `,backing` behind it. */
export const parseDisk: Parser<DiskOption> = (text, name) => {
  const parts = text.split(',');
  const given: string[] = [];
  while (parts.length > 1 && words.some((word) => word === parts.at(-1))) given.push(parts.pop() ?? '');
  const path = parts.join(',');
  if (path === '')
    throw new CliError(
      ExitCode.usage,
      `${name}: '${text}' names no file`,
      `give FILE, FILE,ro or FILE,rw, for example ${name} root.img`,
    );
  const mode: DiskMode = given.includes('rw') ? 'rw' : given.includes('ro') ? 'ro' : 'cow';
  return {
    path,
    mode,
    ...(given.includes('ide') ? { attach: 'ide' as const } : {}),
    ...(given.includes('ahci') ? { attach: 'ahci' as const } : {}),
    ...(given.includes('backing') ? { backingFiles: true } : {}),
  };
};

/** A disc for the CD drive, which nobody writes to. */
export const parseDisc: Parser<MediumOption> = (path) => ({ path, mode: 'ro', attach: 'cdrom' });

/** A disk for the floppy drive: `FILE`, with `,ro` or `,rw`. */
export const parseFloppy: Parser<MediumOption> = (text, name) => {
  const parsed = parseDisk(text, name) as MediumOption;
  return { path: parsed.path, mode: parsed.mode, attach: 'floppy' };
};

/** The option that a medium is given by. */
function optionOf(attach: DiskAttachment = 'virtio'): string {
  return attach === 'cdrom' || attach === 'floppy' ? attach : 'disk';
}

export interface OpenDisks {
  /** For the machine's description; empty when it comes from a checkpoint. */
  requests: DiskRequest[];
  backings: Record<string, DiskBacking>;
  close(): void;
}

/** Opens the disks of a new machine: files first, then empty ones, in the order given. Throws CliError. */
export function openDisks(options: readonly DiskOption[]): OpenDisks {
  const files: MediumFile[] = [];
  const requests: DiskRequest[] = [];
  const backings: Record<string, DiskBacking> = {};
  const close = (): void => {
    for (const file of files) file.close();
  };
  try {
    for (const option of options) {
      const name = `disk${String(requests.length)}`;
      if ('emptyBytes' in option) {
        requests.push({ name, bytes: option.emptyBytes });
        continue;
      }
      const file = new MediumFile(option);
      files.push(file);
      backings[name] = file.backing();
      requests.push({
        name,
        bytes: file.bytes,
        readOnly: file.mode === 'ro',
        ...(option.attach === undefined ? {} : { attach: option.attach }),
        base: file.mode === 'rw' ? null : { sha256: file.sha256() },
      });
    }
  } catch (error) {
    close();
    throw error;
  }
  return { requests, backings, close };
}

/**
 * Opens the images that disks of a checkpoint lie on, in the order of these disks. Throws CliError when one is missing, or is not the
 * image that the checkpoint was made with.
 */
export function reopenDisks(
  options: readonly DiskOption[],
  described: readonly DiskDescription[],
): OpenDisks {
  const files: MediumFile[] = [];
  const backings: Record<string, DiskBacking> = {};
  const close = (): void => {
    for (const file of files) file.close();
  };
  const refuse = (why: string, hint: string): never => {
    throw new CliError(ExitCode.badInput, `--restore: ${why}`, hint);
  };
  try {
    const given = options.filter((option) => 'path' in option);
    if (given.length < options.length) refuse('a checkpoint has its disks', 'leave --disk-size out');
    for (const { name, base, attach } of described) {
      if (base === null) continue;
      const index = given.findIndex((option) => optionOf(option.attach) === optionOf(attach));
      const [option] = index < 0 ? [] : given.splice(index, 1);
      if (option === undefined)
        return refuse(`${name} lies on an image file`, `give it again with --${optionOf(attach)} FILE`);
      if (option.mode === 'rw') refuse(`${name} can't write to its file`, 'leave rw out');
      const file = new MediumFile(option);
      files.push(file);
      if (file.sha256() !== base.sha256)
        refuse(`'${option.path}' is not the image that ${name} was made from`, 'give that image, unchanged');
      backings[name] = file.backing();
    }
    if (given[0] !== undefined)
      refuse(`the checkpoint has no disk for '${given[0].path}'`, 'leave --disk out');
  } catch (error) {
    close();
    throw error;
  }
  return { requests: [], backings, close };
}
