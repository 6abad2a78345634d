/**
 * Container images as files: an OCI image layout (a folder or a tar of it; OCI image specification 1.1) and what `docker save` writes. Every digest that
 * is told is checked, that of each unpacked layer always.
 */
import { createHash } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import * as v from 'valibot';
import { CliError, ExitCode, messageOf } from '../../errors.ts';
import { readTar } from './tar.ts';

/** What the unpacked layers may hold together: they come to a guest in its initial file system, which a store takes up to 256 MiB. */
export const maxUnpackedBytes = 192 * 2 ** 20;
/** Of a file of it, and of all of it as it was saved: layers may lie there unpacked. */
const maxPackedBytes = 2 * maxUnpackedBytes;

const texts = v.array(v.string());
const digest = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/, 'not a SHA-256 digest'));
const descriptor = v.object({
  mediaType: v.optional(v.string(), ''),
  digest,
  size: v.pipe(v.number(), v.integer(), v.minValue(0)),
  annotations: v.optional(v.record(v.string(), v.string()), {}),
  platform: v.optional(v.object({ architecture: v.string(), os: v.string() })),
});
type Descriptor = v.InferOutput<typeof descriptor>;
const indexSchema = v.object({ manifests: v.array(descriptor) });
const manifestSchema = v.object({ config: descriptor, layers: v.array(descriptor) });
const savedSchema = v.pipe(
  v.array(v.object({ Config: v.string(), RepoTags: v.optional(v.nullable(texts)), Layers: texts })),
  v.minLength(1),
);
const configSchema = v.object({
  architecture: v.string(),
  os: v.string(),
  rootfs: v.object({ diff_ids: v.array(digest) }),
  config: v.optional(
    v.nullable(
      v.object({
        Entrypoint: v.optional(v.nullable(texts)),
        Cmd: v.optional(v.nullable(texts)),
        Env: v.optional(v.nullable(texts)),
        WorkingDir: v.optional(v.nullable(v.string())),
        User: v.optional(v.nullable(v.string())),
      }),
    ),
  ),
});
export type ContainerConfig = NonNullable<v.InferOutput<typeof configSchema>['config']>;

export interface ContainerImage {
  /** What it calls itself, without registry and tag. */
  name: string;
  /** Of its configuration, which names all of its layers: the image's own. */
  digest: string;
  config: ContainerConfig;
  /** Unpacked tar archives, the lowest first. */
  layers: Uint8Array[];
}

function bad(what: string, hint = 'save the image again'): never {
  throw new CliError(ExitCode.badInput, what, hint);
}

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The files of an image by their names; undefined for one that is not there. */
type Files = (name: string) => Promise<Uint8Array | undefined>;

/** Nothing but regular files below the folder, wherever links lead: who made the image chose its names and links. */
function folderFiles(folder: string): Files {
  return async (name) => {
    const path = await realpath(join(folder, name)).catch(() => undefined);
    if (path === undefined) return undefined;
    if (!path.startsWith(`${await realpath(folder)}/`))
      return bad(`the image names the file ${JSON.stringify(name)}, which is outside of it`);
    const found = await stat(path);
    if (!found.isFile()) return undefined;
    return found.size > maxPackedBytes ? tooLarge() : readFile(path);
  };
}

function tarFiles(archive: Uint8Array): Files {
  const entries = new Map(readTar(archive).map((entry) => [posix.normalize(entry.path), entry]));
  return (name) => {
    let found = entries.get(posix.normalize(name));
    // `docker save` of old writes a layer that two images share once.
    for (let links = 0; found?.kind === 'link' && links < 8; links++)
      found = entries.get(posix.join(posix.dirname(posix.normalize(name)), found.target));
    return Promise.resolve(found?.kind === 'file' ? found.data : undefined);
  };
}

/** No more than `most` bytes: what is made to swell is given up there. */
function unpack(bytes: Uint8Array, most: number): Uint8Array {
  const head = Buffer.from(bytes.subarray(0, 4)).toString('hex');
  const packed = head.startsWith('1f8b') ? gunzipSync : head === '28b52ffd' ? zstdDecompressSync : undefined;
  if (packed === undefined) return bytes;
  try {
    return packed(bytes, { maxOutputLength: most });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return tooLarge();
    return bad(`a part of the image can't be unpacked: ${messageOf(error)}`);
  }
}

const tooLarge = (): never =>
  bad(
    `the image is larger than ${String(maxUnpackedBytes / 2 ** 20)} MiB when it is unpacked`,
    'all of it is in the memory of its guest: use a smaller one, or a disk',
  );

function parse<T extends v.GenericSchema>(schema: T, bytes: Uint8Array, what: string): v.InferOutput<T> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return bad(`${what} is no JSON`);
  }
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  return bad(`${what}: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
}

async function blob(files: Files, { digest: wanted, size }: Descriptor): Promise<Uint8Array> {
  const bytes = await files(`blobs/${wanted.replace(':', '/')}`);
  if (bytes === undefined) return bad(`the image has no blob ${wanted}`);
  if (bytes.length !== size || sha256(bytes) !== wanted)
    return bad(`the blob ${wanted} is another than its digest says`);
  return bytes;
}

/** An index may hold indexes: one for each platform. */
async function findManifest(
  files: Files,
  bytes: Uint8Array,
  depth = 0,
): Promise<{ manifest: Descriptor; name: string }> {
  const { manifests } = parse(indexSchema, bytes, 'index.json');
  const fits = manifests.filter(
    ({ platform }) =>
      platform === undefined || (platform.os === 'linux' && platform.architecture === 'amd64'),
  );
  const [first] = fits;
  if (first === undefined)
    return bad('the image has nothing for linux/amd64', 'save the one for that platform');
  const name =
    first.annotations['io.containerd.image.name'] ??
    first.annotations['org.opencontainers.image.ref.name'] ??
    '';
  if (!/index|manifest\.list/.test(first.mediaType)) return { manifest: first, name };
  if (depth > 4) return bad('its indexes lie in each other without end');
  const inner = await findManifest(files, await blob(files, first), depth + 1);
  return { ...inner, name: name === '' ? inner.name : name };
}

interface Packed {
  name: string;
  config: Uint8Array;
  layers: Uint8Array[];
}

async function readLayout(files: Files, index: Uint8Array): Promise<Packed> {
  const { manifest, name } = await findManifest(files, index);
  const { config, layers } = parse(manifestSchema, await blob(files, manifest), 'its manifest');
  return {
    name,
    config: await blob(files, config),
    layers: await Promise.all(layers.map((layer) => blob(files, layer))),
  };
}

async function readSaved(files: Files, list: Uint8Array): Promise<Packed> {
  const [{ Config, RepoTags, Layers }] = parse(savedSchema, list, 'manifest.json') as [
    v.InferOutput<typeof savedSchema>[number],
  ];
  const need = async (name: string): Promise<Uint8Array> =>
    (await files(name)) ?? bad(`the image has no file ${JSON.stringify(name)}`);
  return {
    name: RepoTags?.[0] ?? '',
    config: await need(Config),
    layers: await Promise.all(Layers.map(need)),
  };
}

/** `registry:5000/team/web:1.2@sha256:…` → `web`. */
const shortName = (name: string): string =>
  (name.split('@')[0]?.split('/').at(-1)?.split(':')[0] ?? '').toLowerCase();

const forms = { 'oci:': 'index.json', 'docker-archive:': 'manifest.json' } as const;

/**
 * Reads an image. `source`: a file, `oci:PATH` or `docker-archive:FILE`.
 * @throws CliError `badInput` for what is none, or not what its digests say
 */
export async function readContainerImage(source: string): Promise<ContainerImage> {
  const prefix = (Object.keys(forms) as (keyof typeof forms)[]).find((each) => source.startsWith(each));
  const path = source.slice(prefix?.length ?? 0);
  const files = await openFiles(path);
  const wants = (form: keyof typeof forms): Promise<Uint8Array | undefined> =>
    prefix === undefined || prefix === form ? files(forms[form]) : Promise.resolve(undefined);
  const index = await wants('oci:');
  const list = index === undefined ? await wants('docker-archive:') : undefined;
  if (index === undefined && list === undefined)
    return bad(
      `'${path}' is no image of a container: it has no ${prefix === undefined ? 'index.json nor manifest.json' : forms[prefix]}`,
      'give what `docker save` or `skopeo copy` wrote',
    );
  const packed = index === undefined ? await readSaved(files, list!) : await readLayout(files, index);
  const { architecture, os, rootfs, config } = parse(configSchema, packed.config, 'its configuration');
  if (os !== 'linux' || architecture !== 'amd64')
    return bad(
      `the image is for ${os}/${architecture}, not for linux/amd64`,
      'save the one for that platform',
    );
  let room = maxUnpackedBytes;
  const layers = packed.layers.map((bytes, n) => {
    const layer = unpack(bytes, room);
    room -= layer.length;
    if (room < 0) tooLarge();
    if (sha256(layer) !== rootfs.diff_ids[n])
      bad(`layer ${String(n + 1)} of the image is another than its digest says`);
    return layer;
  });
  if (layers.length !== rootfs.diff_ids.length)
    return bad('the image has other layers than its configuration says');
  const name = shortName(packed.name) || shortName(basename(path).replace(/\.(tar|tgz|gz|zst)\b.*$/, ''));
  return { name, digest: sha256(packed.config), config: config ?? {}, layers };
}

async function openFiles(path: string): Promise<Files> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) return folderFiles(path);
    // Nothing of it is read when it is too large, as a sparse file may be.
    if (found.size > maxPackedBytes) return tooLarge();
    return tarFiles(unpack(await readFile(path), maxPackedBytes));
  } catch (error) {
    if (error instanceof CliError) throw error;
    return bad(`can't read '${path}': ${messageOf(error)}`, 'check the path');
  }
}
