/** Makes a VM: what it boots and lies on, where it may run, and how it is kept. */
import { useEffect, useState } from 'preact/hooks';
import {
  healthSigns,
  outputPolicies,
  publishOf,
  type OfferedImage,
  type Publish,
} from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { bootOf, GuestChoice, type Source } from './create-boot.tsx';
import { Processors, processorsOf } from './create-processors.tsx';
import { Disks, disksOf } from './create-disks.tsx';
import { offeredImages } from './images.ts';
import { newRulesOf, PlacementFields } from './placement-rules.tsx';
import { policyWords } from './text.ts';
import { textOf } from './use-action.tsx';

const mib = 2 ** 20;

/** Ports as they are written one after the other. Throws Error in words for people. */
function portsOf(text: string): Publish[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  return words.map((word) => {
    const publish = publishOf(word);
    if (publish === undefined)
      throw new Error(`'${word}' is not [NODE:]PORT:GUESTPORT[/udp], such as 8080:80`);
    return publish;
  });
}

async function create(connection: Connection, data: FormData, source: Source): Promise<void> {
  const memoryMiB = Number(textOf(data, 'memory'));
  const network = textOf(data, 'network');
  const publish = portsOf(textOf(data, 'publish'));
  if (publish.length > 0 && network === '')
    throw new Error('ports are published of a VM that is in a network');
  const disks = await disksOf(connection, data, { virtio: source !== 'disk' });
  if (source === 'disk' && disks.length === 0)
    throw new Error('choose a disk, a disc or a floppy disk to start from');
  const description = {
    memoryBytes: memoryMiB * mib,
    ...processorsOf(data),
    ...(await bootOf(connection, data, source)),
    ...(disks.length === 0 ? {} : { disks }),
  };
  const checkpointMs = textOf(data, 'checkpoint-ms');
  const quotaMiB = textOf(data, 'quota');
  const sign = healthSigns.find((each) => each === textOf(data, 'health'));
  const silentMs = Number(textOf(data, 'silent')) * 1000;
  const spec = {
    runtime: 'machine',
    description,
    memoryMiB,
    priority: Number(textOf(data, 'priority')),
    outputs: outputPolicies.find((each) => each === textOf(data, 'outputs')) ?? 'async',
    ...newRulesOf(data),
    ...(checkpointMs === '' ? {} : { checkpointMs: Number(checkpointMs) }),
    ...(sign === undefined ? {} : { health: { watch: sign, silentMs } }),
    ...(network === '' ? {} : { network: { name: network, publish } }),
    ...(data.get('standby') === null ? {} : { standby: true }),
    ...(quotaMiB === '' ? {} : { storeQuotaBytes: Number(quotaMiB) * mib }),
  };
  await connection.command({
    type: 'vm-create',
    vmId: textOf(data, 'name'),
    spec,
    start: data.get('start') !== null,
  });
}

function Placement({ networks }: { networks: readonly string[] }) {
  return (
    <>
      <label>
        Priority (higher is restarted first)
        <input type="number" name="priority" defaultValue="1" />
      </label>
      <PlacementFields />
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
        Ports of the nodes that are its own, such as 8080:80
        <input type="text" name="publish" placeholder="[NODE:]PORT:GUESTPORT[/udp], …" />
      </label>
    </>
  );
}

/** How it is kept. */
function Keeping() {
  return (
    <>
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
      <label class="choice">
        <input type="checkbox" name="standby" />a machine on another node follows it (where its log is kept)
      </label>
      <label>
        Its checkpoints may hold in the store, in MiB (empty: no limit)
        <input type="number" name="quota" min={1} />
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
      <Processors />
      <Disks />
      <Placement networks={networks} />
      <Keeping />
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
