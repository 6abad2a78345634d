/** Guest images that the server offers beside the page. A page on a plain file server offers none. */

export interface ImageEntry {
  name: string;
  title: string;
  commandLine: string;
  memoryMiB: number;
}

/** The server's images; none when it has no list. */
export async function listImages(): Promise<readonly ImageEntry[]> {
  try {
    const response = await fetch(new URL('images/index.json', document.baseURI));
    return response.ok ? ((await response.json()) as ImageEntry[]) : [];
  } catch {
    return [];
  }
}

async function fetchBytes(path: string): Promise<Uint8Array> {
  const response = await fetch(new URL(path, document.baseURI));
  if (!response.ok) throw new Error(`the server has no ${path} (status ${String(response.status)})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Kernel and initrd of an image. Throws Error when the server does not give them. */
export async function loadImage({ name }: ImageEntry): Promise<{ kernel: Uint8Array; initrd: Uint8Array }> {
  const folder = `images/${encodeURIComponent(name)}`;
  const [kernel, initrd] = await Promise.all([
    fetchBytes(`${folder}/kernel`),
    fetchBytes(`${folder}/initrd`),
  ]);
  return { kernel, initrd };
}
