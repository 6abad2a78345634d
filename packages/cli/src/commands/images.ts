/** `revenant images`: what can be run by name. */
import { parseArgs } from 'node:util';
import type { Command } from '../command.ts';
import { CliError, ExitCode } from '../errors.ts';
import { builtinName, builtinTitle } from '../images/builtin.ts';
import { fetchImage, findImage } from '../images/image.ts';
import { readRecipe, recipeNames } from '../images/recipe.ts';

interface Entry {
  name: string;
  title: string;
  /** Folder in the cache, or null when it has not been made yet. */
  folder: string | null;
}

async function entries(): Promise<Entry[]> {
  const made = await Promise.all(
    (await recipeNames()).map(async (name): Promise<Entry> => {
      const [recipe, image] = [await readRecipe(name), await findImage(name)];
      return { name, title: recipe.title, folder: image?.folder ?? null };
    }),
  );
  return [{ name: builtinName, title: builtinTitle, folder: null }, ...made];
}

async function requireImageName(name: string | undefined): Promise<string> {
  const names = await recipeNames();
  if (name !== undefined && names.includes(name)) return name;
  if (name === builtinName)
    throw new CliError(
      ExitCode.usage,
      'the built-in guest has no files: it is made when it is run',
      'revenant run builtin',
    );
  throw new CliError(
    ExitCode.usage,
    name === undefined ? 'an image name is missing' : `there is no image '${name}'`,
    `choose from ${names.join(', ')}`,
  );
}

const progress = (line: string): void => {
  process.stderr.write(`revenant: ${line}\n`);
};

export const command: Command = {
  summary: 'list, make or find the guest images',
  help: `Usage: revenant images [list] [--json]
       revenant images fetch NAME [--again]
       revenant images path NAME

list   the images, and which of them are in the cache
fetch  makes an image from Debian packages (through apt, without root) and keeps it in the cache; --again makes it anew
path   prints the folder with its kernel, initrd and manifest.json

Examples:
  revenant images
  revenant images fetch linux-amd64
  ls $(revenant images path linux-amd64)`,
  async run(words) {
    const { values, positionals } = parseArgs({
      args: words,
      allowPositionals: true,
      options: { json: { type: 'boolean' }, again: { type: 'boolean' } },
    });
    const [verb = 'list', name] = positionals;
    if (verb === 'list') {
      const list = await entries();
      const text = list.map(
        (e) =>
          `${e.name.padEnd(14)}${(e.name === builtinName ? 'built in' : e.folder === null ? 'not made' : 'cached').padEnd(10)}${e.title}`,
      );
      process.stdout.write(
        values.json === true ? `${JSON.stringify(list, null, 2)}\n` : `${text.join('\n')}\n`,
      );
      return ExitCode.ok;
    }
    if (verb === 'fetch') {
      const image = await fetchImage(await requireImageName(name), progress, values.again === true);
      process.stdout.write(`${image.folder}\n`);
      return ExitCode.ok;
    }
    if (verb === 'path') {
      const wanted = await requireImageName(name);
      const image = await findImage(wanted);
      if (image === undefined)
        throw new CliError(
          ExitCode.unavailable,
          `image '${wanted}' has not been made yet`,
          `revenant images fetch ${wanted}`,
        );
      process.stdout.write(`${image.folder}\n`);
      return ExitCode.ok;
    }
    throw new CliError(
      ExitCode.usage,
      `images can't '${verb}'`,
      'revenant images list, fetch NAME or path NAME',
    );
  },
};
