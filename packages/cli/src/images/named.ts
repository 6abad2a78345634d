/** Images by the name that a person gives. */
import { CliError, ExitCode } from '../errors.ts';
import { builtinName } from './builtin.ts';
import { importedNames } from './image.ts';
import { recipeNames } from './recipe.ts';

/** Throws CliError when there is no image of this name. */
export async function requireImage(name: string): Promise<void> {
  const names = [builtinName, ...(await recipeNames()), ...(await importedNames())];
  if (!names.includes(name))
    throw new CliError(ExitCode.usage, `there is no image '${name}'`, `choose from ${names.join(', ')}`);
}

/** Throws CliError when there is no image of this name that has files. */
export async function requireImageFiles(name: string): Promise<void> {
  await requireImage(name);
  if (name === builtinName)
    throw new CliError(
      ExitCode.usage,
      'the built-in guest has no files: it is made when it is run',
      'revenant run builtin',
    );
}
