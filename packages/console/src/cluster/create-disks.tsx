/** Disks and media of a VM that is being made: images of the person's own, which go into the cluster's store, and empty disks. */
import type { DiskAttachment } from '@revenant/emulator';
import type { Connection } from './connection.ts';
import { putDisk } from './blobs.ts';
import { textOf } from './use-action.tsx';

const mib = 2 ** 20;
/** A disk in the VM's description. */
interface DiskRequest {
  name: string;
  bytes: number;
  readOnly?: boolean;
  attach?: DiskAttachment;
  base?: { sha256: string };
  title?: string;
}

/** What each field's files are, and of how many bytes a guest sees them in multiples. */
const kinds = [
  { field: 'disks', label: 'Disk images (raw)', unit: 512 },
  { field: 'cdroms', label: 'Discs for the CD drive (the first is in it)', attach: 'cdrom', unit: 2048 },
  {
    field: 'floppies',
    label: 'Disks for the floppy drive (the first is in it)',
    attach: 'floppy',
    unit: 1_474_560,
  },
] as const;
/** The first four bytes of images that are not what the guest sees: "QFI\xfb", "KDMV", "conectix" begins so, "vhdx". */
const containers: Readonly<Record<string, string>> = {
  '514649fb': 'qcow2',
  '4b444d56': 'vmdk',
  '636f6e65': 'vhd',
  '76686478': 'vhdx',
};

/** What a guest sees of a file: whole sectors, and whole floppy disks. Throws Error in words for people. */
async function contentsOf(file: File, unit: number): Promise<Uint8Array<ArrayBuffer>> {
  const start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const magic = Array.from(start, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const container = containers[magic];
  if (container !== undefined)
    throw new Error(
      `${file.name} is a ${container} image: upload it as raw (qemu-img convert -O raw), or make the VM by revenant vm create`,
    );
  const bytes = new Uint8Array(Math.ceil(file.size / unit) * unit);
  bytes.set(new Uint8Array(await file.arrayBuffer()));
  return bytes;
}

/** @param virtio whether disk images are virtio disks; else they are on the IDE controller, which all firmware and systems know */
export async function disksOf(
  connection: Connection,
  data: FormData,
  { virtio }: { virtio: boolean },
): Promise<DiskRequest[]> {
  const requests: DiskRequest[] = [];
  const next = (): string => `disk${String(requests.length)}`;
  for (const { field, unit, ...kind } of kinds)
    for (const file of data.getAll(field)) {
      if (!(file instanceof File) || file.size === 0) continue;
      const bytes = await contentsOf(file, unit);
      const attach = 'attach' in kind ? kind.attach : virtio ? undefined : ('ide' as const);
      requests.push({
        ...{ name: next(), bytes: bytes.length, title: file.name, readOnly: attach === 'cdrom' },
        ...(attach === undefined ? {} : { attach }),
        base: { sha256: await putDisk(connection, bytes) },
      });
    }
  const emptyMiB = Number(textOf(data, 'empty-disk'));
  if (emptyMiB > 0) requests.push({ name: next(), bytes: emptyMiB * mib });
  return requests;
}

export function Disks() {
  return (
    <fieldset>
      <legend>Disks and media</legend>
      {kinds.map(({ field, label }) => (
        <label key={field}>
          {label}
          <input type="file" name={field} multiple />
        </label>
      ))}
      <label>
        Empty disk in MiB (0: none)
        <input type="number" name="empty-disk" min={0} max={65536} defaultValue="0" />
      </label>
    </fieldset>
  );
}
