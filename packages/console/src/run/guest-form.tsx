/** Chooses what to run: the built-in guest, an image that the server has, or files of the person's own. */
import { useEffect, useState } from 'preact/hooks';
import type { EngineChoice, GuestRequest } from './messages.ts';
import { listImages, loadImage, type ImageEntry } from './images.ts';

export interface Choice {
  request: GuestRequest;
  engine: EngineChoice;
  title: string;
}

const mib = 2 ** 20;
const minMemoryMiB = 4;
const maxMemoryMiB = 2048;

type Source = 'builtin' | 'files' | 'checkpoint' | `image:${string}`;

async function bytesOf(file: File): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await file.arrayBuffer());
}

async function requestOf(
  form: HTMLFormElement,
  source: Source,
  images: readonly ImageEntry[],
): Promise<GuestRequest> {
  const data = new FormData(form);
  const text = (name: string): string => {
    const value = data.get(name);
    return typeof value === 'string' ? value : '';
  };
  if (source === 'builtin') return { kind: 'builtin' };
  if (source === 'checkpoint') {
    const file = data.get('checkpoint');
    if (!(file instanceof File) || file.size === 0) throw new Error('choose a checkpoint file');
    return { kind: 'checkpoint', bytes: await bytesOf(file) };
  }
  const memoryBytes = Number(text('memory')) * mib;
  const longMode = text('mode') === '64';
  if (source !== 'files') {
    const image = images.find(({ name }) => `image:${name}` === source)!;
    const { kernel, initrd } = await loadImage(image);
    const commandLine = [image.commandLine, text('append')].filter((part) => part !== '').join(' ');
    return { kind: 'kernel', kernel, initrd, commandLine, memoryBytes, longMode };
  }
  const kernel = data.get('kernel');
  const initrd = data.get('initrd');
  if (!(kernel instanceof File) || kernel.size === 0) throw new Error('choose the file of a kernel');
  return {
    kind: 'kernel',
    kernel: await bytesOf(kernel),
    ...(initrd instanceof File && initrd.size > 0 ? { initrd: await bytesOf(initrd) } : {}),
    commandLine: text('append'),
    memoryBytes,
    longMode,
  };
}

function titleOf(source: Source): string {
  const titles = { builtin: 'built-in guest', files: 'own files', checkpoint: 'checkpoint' };
  return source in titles ? titles[source as keyof typeof titles] : source.slice('image:'.length);
}

function OwnFiles() {
  return (
    <>
      <label>
        Kernel (bzImage, ELF, multiboot)
        <input type="file" name="kernel" />
      </label>
      <label>
        Initial RAM disk, if it needs one
        <input type="file" name="initrd" />
      </label>
    </>
  );
}

function CheckpointFile() {
  return (
    <label>
      Checkpoint (made by revenant run --save, or revenant checkpoint export)
      <input type="file" name="checkpoint" />
    </label>
  );
}

function Settings({ source, image }: { source: Source; image: ImageEntry | undefined }) {
  return (
    <>
      <label>
        Kernel command line, added to the image's own
        <input type="text" name="append" defaultValue={source === 'files' ? 'console=ttyS0' : ''} />
      </label>
      <label>
        Memory in MiB
        <input
          key={source}
          type="number"
          name="memory"
          min={minMemoryMiB}
          max={maxMemoryMiB}
          defaultValue={String(image?.memoryMiB ?? 128)}
        />
      </label>
      <label>
        Entry
        <select name="mode" key={source} defaultValue="64">
          <option value="64">64-bit where the kernel has one</option>
          <option value="32">32-bit</option>
        </select>
      </label>
    </>
  );
}

export function GuestForm({ start }: { start: (choice: Choice) => void }) {
  const [source, setSource] = useState<Source>('builtin');
  const [images, setImages] = useState<readonly ImageEntry[]>([]);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    void listImages().then(setImages);
  }, []);
  const image = images.find(({ name }) => `image:${name}` === source);
  const submit = async (form: HTMLFormElement): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      const request = await requestOf(form, source, images);
      const engine = new FormData(form).get('engine') === 'interpreter' ? 'interpreter' : 'translator';
      start({ request, engine, title: titleOf(source) });
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
      setBusy(false);
    }
  };
  return (
    <form
      class="form panel"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(event.currentTarget);
      }}
    >
      <h2>Run a guest in this tab</h2>
      <label>
        Guest
        <select
          name="source"
          value={source}
          onChange={(event) => {
            setSource(event.currentTarget.value as Source);
          }}
        >
          <option value="builtin">built-in: counts a chain of digests, needs nothing</option>
          {images.map(({ name, title }) => (
            <option key={name} value={`image:${name}`}>
              {name}: {title}
            </option>
          ))}
          <option value="files">kernel and initrd from files</option>
          <option value="checkpoint">a checkpoint file, which goes on where it was made</option>
        </select>
      </label>
      {source === 'files' && <OwnFiles />}
      {source === 'checkpoint' && <CheckpointFile />}
      {source !== 'builtin' && source !== 'checkpoint' && <Settings source={source} image={image} />}
      <label>
        Engine
        <select name="engine">
          <option value="translator">translator (hot code becomes WebAssembly)</option>
          <option value="interpreter">interpreter</option>
        </select>
      </label>
      <div>
        <button class="primary" type="submit" disabled={busy}>
          {busy ? 'Loading…' : 'Start'}
        </button>
      </div>
      <p class="error" role="alert">
        {error}
      </p>
    </form>
  );
}
