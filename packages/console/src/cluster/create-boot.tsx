/** What a VM that is being made boots: the built-in guest, an image by name, a kernel of the person's own, or what is on its disks. */
import { makeBuiltinKernel } from '../../../../images/builtin/kernel.ts';
import type { OfferedImage } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { putBlob } from './blobs.ts';
import { chooseFirmware, chooseImage } from './images.ts';
import { textOf } from './use-action.tsx';

export type Source = 'builtin' | 'own' | 'disk' | `image:${string}`;

const bootDevices = [
  ['disk', 'a disk'],
  ['cdrom', 'the CD'],
  ['floppy', 'the floppy disk'],
] as const;

/** The part of a VM's description that says how it starts. */
type Boot =
  | { kernel: string; initrd?: string; commandLine: string }
  | { rom: string; optionRomBytes: number; bootOrder: string[] };

async function fileOf(data: FormData, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = data.get(name);
  return file instanceof File && file.size > 0 ? new Uint8Array(await file.arrayBuffer()) : undefined;
}

async function firmwareOf(connection: Connection, data: FormData): Promise<Boot> {
  const bios = await fileOf(data, 'bios');
  const own = bios === undefined ? null : await putBlob(connection, bios);
  const first = textOf(data, 'boot-first');
  const bootOrder: string[] = bootDevices.map(([device]) => device);
  return {
    ...(await chooseFirmware(connection, own)),
    bootOrder: [first, ...bootOrder.filter((device) => device !== first)],
  };
}

/** What the VM boots, in the cluster's store. Throws Error in words for people. */
export async function bootOf(connection: Connection, data: FormData, source: Source): Promise<Boot> {
  if (source === 'disk') return firmwareOf(connection, data);
  if (source === 'builtin')
    return { kernel: await putBlob(connection, Uint8Array.from(makeBuiltinKernel())), commandLine: '' };
  const append = textOf(data, 'append');
  if (source !== 'own') {
    const { kernel, initrd, commandLine } = await chooseImage(connection, source.slice('image:'.length));
    return { kernel, initrd, commandLine: [commandLine, append].filter((part) => part !== '').join(' ') };
  }
  const kernel = await fileOf(data, 'kernel');
  if (kernel === undefined) throw new Error('choose the file of a kernel');
  const initrd = await fileOf(data, 'initrd');
  return {
    kernel: await putBlob(connection, kernel),
    ...(initrd === undefined ? {} : { initrd: await putBlob(connection, initrd) }),
    commandLine: append,
  };
}

function OwnFiles() {
  return (
    <>
      <label>
        Kernel
        <input type="file" name="kernel" />
      </label>
      <label>
        Initial RAM disk
        <input type="file" name="initrd" />
      </label>
      <label>
        Kernel command line
        <input type="text" name="append" defaultValue="console=ttyS0" />
      </label>
    </>
  );
}

function Firmware() {
  return (
    <>
      <label>
        Starts from
        <select name="boot-first">
          {bootDevices.map(([device, label]) => (
            <option key={device} value={device}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label>
        BIOS image (none: SeaBIOS of the node's host)
        <input type="file" name="bios" />
      </label>
    </>
  );
}

const defaultMiB: Readonly<Record<string, number>> = { builtin: 16, own: 128, disk: 256 };

/** With the memory that it needs. */
export function GuestChoice({
  source,
  setSource,
  images,
}: {
  source: Source;
  setSource: (source: Source) => void;
  images: readonly OfferedImage[];
}) {
  const image = images.find(({ name }) => source === `image:${name}`);
  return (
    <>
      <label>
        Guest
        <select
          name="source"
          value={source}
          onChange={(event) => setSource(event.currentTarget.value as Source)}
        >
          <option value="builtin">built-in: counts a chain of digests</option>
          {images.map(({ name, title }) => (
            <option key={name} value={`image:${name}`}>
              {name}: {title}
            </option>
          ))}
          <option value="own">kernel and initrd from files</option>
          <option value="disk">what is on its disks, started by firmware</option>
        </select>
      </label>
      {source === 'own' && <OwnFiles />}
      {source === 'disk' && <Firmware />}
      {image !== undefined && (
        <label>
          Added to its kernel's command line
          <input type="text" name="append" />
        </label>
      )}
      <label>
        Memory in MiB
        <input
          type="number"
          name="memory"
          min={4}
          max={3072}
          key={source}
          defaultValue={String(image?.memoryMiB ?? defaultMiB[source])}
        />
      </label>
    </>
  );
}
