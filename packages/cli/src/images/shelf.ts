/** The images in this host's cache, for a node to offer at its page. */
import type { ImageShelf } from '@revenant/cluster';
import { findFirmware, firmwareRom } from './firmware.ts';
import { findImage, importedNames, readImageFile, type Image } from './image.ts';
import { recipeNames } from './recipe.ts';

/** Those that are there whole. */
export async function cachedImages(): Promise<Image[]> {
  const names = [...(await recipeNames()), ...(await importedNames())];
  const found = await Promise.all(names.map((name) => findImage(name)));
  return found.filter((image) => image !== undefined);
}

export const imageShelf: ImageShelf = {
  async list() {
    return (await cachedImages()).map(({ manifest: { name, title, commandLine, memoryMiB } }) => ({
      ...{ name, title, commandLine, memoryMiB },
    }));
  },
  async read(name) {
    const image = (await cachedImages()).find(({ manifest }) => manifest.name === name);
    if (image === undefined) return undefined;
    return { kernel: await readImageFile(image, 'kernel'), initrd: await readImageFile(image, 'initrd') };
  },
  async firmware(bios) {
    const found = await findFirmware(() => undefined).catch(() => undefined);
    return found && firmwareRom(bios === undefined ? found : { ...found, bios });
  },
};
