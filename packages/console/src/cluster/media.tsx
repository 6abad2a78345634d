/** The drives of a VM for media that can be changed: what it was made with is put in, or taken out. */
import type { VmSeen } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { Refusal, useAction } from './use-action.tsx';

const drives = [
  ['cdrom', 'CD drive'],
  ['floppy', 'floppy drive'],
] as const;
type Drive = (typeof drives)[number][0];

interface Medium {
  name: string;
  title: string;
}

/** The media of a VM for a drive: its description is opaque to the cluster, and read as far as it is what we know. */
function mediaFor({ spec: { description } }: VmSeen, drive: Drive): Medium[] {
  const { disks } = (description ?? {}) as { disks?: unknown };
  if (!Array.isArray(disks)) return [];
  return (disks as Record<string, unknown>[]).flatMap(({ name, title, attach }) =>
    attach === drive && typeof name === 'string'
      ? [{ name, title: typeof title === 'string' ? title : name }]
      : [],
  );
}

export const hasMedia = (vm: VmSeen): boolean => drives.some(([drive]) => mediaFor(vm, drive).length > 0);

function DriveOf({
  vm,
  drive,
  called,
  connection,
  may,
}: {
  vm: VmSeen;
  drive: Drive;
  called: string;
  connection: Connection;
  may: boolean;
}) {
  const { run, busy, error } = useAction();
  const media = mediaFor(vm, drive);
  if (media.length === 0) return null;
  const change = (image: string | null): void =>
    void run(() => connection.changeMedium(vm.id, { drive, image }));
  return (
    <span class="actions">
      <select
        aria-label={`Insert into the ${called} of ${vm.id}`}
        disabled={!may || busy}
        value=""
        onChange={(event) => {
          const { value } = event.currentTarget;
          event.currentTarget.value = '';
          if (value !== '') change(value);
        }}
      >
        <option value="">{called}: insert …</option>
        {media.map(({ name, title }) => (
          <option key={name} value={name}>
            {title}
          </option>
        ))}
      </select>
      <button
        type="button"
        disabled={!may || busy}
        aria-label={`Eject the ${called} of ${vm.id}`}
        onClick={() => change(null)}
      >
        Eject
      </button>
      <Refusal error={error} />
    </span>
  );
}

export function Media({ vm, connection, may }: { vm: VmSeen; connection: Connection; may: boolean }) {
  return (
    <>
      {drives.map(([drive, called]) => (
        <DriveOf key={drive} {...{ vm, drive, called, connection, may }} />
      ))}
    </>
  );
}
