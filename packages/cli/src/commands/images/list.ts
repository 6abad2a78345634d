/** `revenant images list`. */
import { define } from '../../command/command.ts';
import { jsonOption } from '../../command/options.ts';
import { builtinName, builtinTitle } from '../../images/builtin.ts';
import { findImage, importedNames } from '../../images/image.ts';
import { readRecipe, recipeNames } from '../../images/recipe.ts';
import { table } from '../../output/print.ts';

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
  const imported = await Promise.all(
    (await importedNames()).map(async (name): Promise<Entry> => {
      const image = await findImage(name);
      return { name, title: image?.manifest.title ?? '', folder: image?.folder ?? null };
    }),
  );
  return [{ name: builtinName, title: builtinTitle, folder: null }, ...made, ...imported];
}

function state({ name, folder }: Entry): string {
  if (name === builtinName) return 'built in';
  return folder === null ? 'not made' : 'cached';
}

export const command = define({
  words: [],
  options: { json: jsonOption },
  examples: ['images', 'images list --json'],
  async run(input) {
    const list = await entries();
    input.show(list, () =>
      table(
        ['NAME', 'STATE', 'WHAT IT IS'],
        list.map((entry) => [entry.name, state(entry), entry.title]),
      ),
    );
    return undefined;
  },
});
