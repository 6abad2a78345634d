/** Drives of a VM, and the media that it was made with. */
import { disksOf } from '@revenant/cluster/disks';
import { CliError, ExitCode } from '../errors.ts';

export type Drive = 'cdrom' | 'floppy';

/** Throws CliError. */
export function driveOf(word: string): Drive {
  if (word === 'cdrom' || word === 'floppy') return word;
  throw new CliError(ExitCode.usage, `there is no drive '${word}'`, 'drives are cdrom and floppy');
}

/** The name of a medium for a drive, by what people call it. Throws CliError. */
export function mediumOf(description: unknown, drive: Drive, called: string): string {
  const media = disksOf(description).filter(({ attach }) => attach === drive);
  const found = media.find(({ title }) => title === called) ?? media.find(({ name }) => name === called);
  if (found !== undefined) return found.name;
  const known = media.map(({ name, title }) => title ?? name).join(', ');
  throw new CliError(
    ExitCode.refused,
    `the VM has no medium '${called}' for ${drive}`,
    known === ''
      ? `media are given when a VM is made: revenant vm create NAME --${drive} FILE`
      : `it has ${known}`,
  );
}
