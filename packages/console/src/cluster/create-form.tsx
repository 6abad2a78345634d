/** Makes a VM: the built-in guest, or a kernel of the person's own. */
import { useState } from 'preact/hooks';
import { makeBuiltinKernel } from '../../../../images/builtin/kernel.ts';
import { healthSigns } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { putBlob } from './blobs.ts';

const mib = 2 ** 20;

async function fileOf(data: FormData, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = data.get(name);
  return file instanceof File && file.size > 0 ? new Uint8Array(await file.arrayBuffer()) : undefined;
}

function textOf(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === 'string' ? value.trim() : '';
}

async function create(connection: Connection, data: FormData, own: boolean): Promise<void> {
  const memoryMiB = Number(textOf(data, 'memory'));
  const kernel = own ? await fileOf(data, 'kernel') : Uint8Array.from(makeBuiltinKernel());
  if (kernel === undefined) throw new Error('choose the file of a kernel');
  const initrd = own ? await fileOf(data, 'initrd') : undefined;
  const diskMiB = Number(textOf(data, 'disk'));
  const description = {
    memoryBytes: memoryMiB * mib,
    kernel: await putBlob(kernel),
    ...(initrd === undefined ? {} : { initrd: await putBlob(initrd) }),
    commandLine: own ? textOf(data, 'append') : '',
    ...(diskMiB > 0 ? { disks: [{ emptyBytes: diskMiB * mib }] } : {}),
  };
  const group = textOf(data, 'anti-affinity');
  const checkpointMs = textOf(data, 'checkpoint-ms');
  const sign = healthSigns.find((each) => each === textOf(data, 'health'));
  const silentMs = Number(textOf(data, 'silent')) * 1000;
  const spec = {
    runtime: 'machine',
    description,
    memoryMiB,
    priority: Number(textOf(data, 'priority')),
    outputs: 'async' as const,
    ...(group === '' ? {} : { antiAffinity: group }),
    ...(checkpointMs === '' ? {} : { checkpointMs: Number(checkpointMs) }),
    ...(sign === undefined ? {} : { health: { watch: sign, silentMs } }),
  };
  await connection.command({
    type: 'vm-create',
    vmId: textOf(data, 'name'),
    spec,
    start: data.get('start') !== null,
  });
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

function Placement() {
  return (
    <>
      <label>
        Priority (higher is restarted first)
        <input type="number" name="priority" defaultValue="1" />
      </label>
      <label>
        Never on one node with others of the group
        <input type="text" name="anti-affinity" maxLength={63} />
      </label>
      <label>
        Empty disk in MiB (0: none)
        <input type="number" name="disk" min={0} max={65536} defaultValue="0" />
      </label>
      <label>
        Milliseconds between checkpoints (empty: the cluster's)
        <input type="number" name="checkpoint-ms" min={10} />
      </label>
      <label>
        Booted afresh when it shows no
        <select name="health">
          <option value="">(a silent guest is left alone)</option>
          {healthSigns.map((sign) => (
            <option key={sign} value={sign}>
              {sign}
            </option>
          ))}
        </select>
      </label>
      <label>
        for so many seconds
        <input type="number" name="silent" min={1} defaultValue="60" />
      </label>
      <label class="choice">
        <input type="checkbox" name="start" defaultChecked />
        start it at once
      </label>
    </>
  );
}

export function CreateForm({ connection, close }: { connection: Connection; close: () => void }) {
  const [own, setOwn] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const submit = async (form: HTMLFormElement): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      await create(connection, new FormData(form), own);
      close();
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
      setBusy(false);
    }
  };
  return (
    <form
      class="form panel"
      aria-label="create a VM"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(event.currentTarget);
      }}
    >
      <h2>Create a VM</h2>
      <label>
        Name
        <input type="text" name="name" required pattern="[A-Za-z0-9][A-Za-z0-9_\-]*" maxLength={63} />
      </label>
      <label>
        Guest
        <select
          onChange={(event) => {
            setOwn(event.currentTarget.value === 'own');
          }}
        >
          <option value="builtin">built-in: counts a chain of digests</option>
          <option value="own">kernel and initrd from files</option>
        </select>
      </label>
      {own && <OwnFiles />}
      <label>
        Memory in MiB
        <input
          type="number"
          name="memory"
          min={4}
          max={3072}
          key={String(own)}
          defaultValue={own ? '128' : '16'}
        />
      </label>
      <Placement />
      <div>
        <button class="primary" type="submit" disabled={busy}>
          {busy ? 'Creating…' : 'Create and start'}
        </button>{' '}
        <button type="button" onClick={close}>
          Cancel
        </button>
      </div>
      <p class="error" role="alert">
        {error}
      </p>
    </form>
  );
}
