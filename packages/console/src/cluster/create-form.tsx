/** Makes a VM: the built-in guest, or a kernel of the person's own. */
import { useEffect, useState } from 'preact/hooks';
import { makeBuiltinKernel } from '../../../../images/builtin/kernel.ts';
import { healthSigns, outputPolicies, type OfferedImage } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { putBlob } from './blobs.ts';
import { chooseImage, offeredImages } from './images.ts';
import { policyWords } from './text.ts';

const mib = 2 ** 20;

async function fileOf(data: FormData, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = data.get(name);
  return file instanceof File && file.size > 0 ? new Uint8Array(await file.arrayBuffer()) : undefined;
}

function textOf(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === 'string' ? value.trim() : '';
}

type Source = 'builtin' | 'own' | `image:${string}`;

interface Boot {
  kernel: string;
  initrd?: string;
  commandLine: string;
}

/** What the VM boots, in the cluster's store. */
async function bootOf(connection: Connection, data: FormData, source: Source): Promise<Boot> {
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

async function create(connection: Connection, data: FormData, source: Source): Promise<void> {
  const memoryMiB = Number(textOf(data, 'memory'));
  const diskMiB = Number(textOf(data, 'disk'));
  const description = {
    memoryBytes: memoryMiB * mib,
    ...(await bootOf(connection, data, source)),
    ...(diskMiB > 0 ? { disks: [{ emptyBytes: diskMiB * mib }] } : {}),
  };
  const group = textOf(data, 'anti-affinity');
  const checkpointMs = textOf(data, 'checkpoint-ms');
  const network = textOf(data, 'network');
  const sign = healthSigns.find((each) => each === textOf(data, 'health'));
  const silentMs = Number(textOf(data, 'silent')) * 1000;
  const spec = {
    runtime: 'machine',
    description,
    memoryMiB,
    priority: Number(textOf(data, 'priority')),
    outputs: outputPolicies.find((each) => each === textOf(data, 'outputs')) ?? 'async',
    ...(group === '' ? {} : { antiAffinity: group }),
    ...(checkpointMs === '' ? {} : { checkpointMs: Number(checkpointMs) }),
    ...(sign === undefined ? {} : { health: { watch: sign, silentMs } }),
    ...(network === '' ? {} : { network: { name: network, publish: [] } }),
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

function Placement({ networks }: { networks: readonly string[] }) {
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
        Network
        <select name="network">
          <option value="">(no network card)</option>
          {networks.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        When what it says leaves its node
        <select name="outputs">
          {outputPolicies.map((policy) => (
            <option key={policy} value={policy}>
              {policyWords[policy]}
            </option>
          ))}
        </select>
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

/** What it boots, and the memory that this needs. */
function GuestChoice({
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
        </select>
      </label>
      {source === 'own' && <OwnFiles />}
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
          defaultValue={String(image?.memoryMiB ?? (source === 'own' ? 128 : 16))}
        />
      </label>
    </>
  );
}

interface CreateFormProps {
  connection: Connection;
  /** Names of the cluster's networks. */
  networks: readonly string[];
  close: () => void;
}

export function CreateForm({ connection, networks, close }: CreateFormProps) {
  const [source, setSource] = useState<Source>('builtin');
  const [images, setImages] = useState<readonly OfferedImage[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useEffect(() => void offeredImages(connection).then(setImages), [connection]);
  const submit = async (form: HTMLFormElement): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      await create(connection, new FormData(form), source);
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
      <GuestChoice {...{ source, setSource, images }} />
      <Placement networks={networks} />
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
