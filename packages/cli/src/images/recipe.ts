/** Recipes of guest images: images/NAME/recipe.json says which Debian packages make the guest NAME. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError, ExitCode } from '../errors.ts';
import type { Architecture } from './apt.ts';
import { recipeFolder } from './cache.ts';

export interface Recipe {
  title: string;
  architecture: Architecture;
  /** Debian meta package of the kernel. */
  kernelPackage: string;
  userlandPackage: string;
  /** Kernel modules that the guest may need, each after those that it depends on itself. */
  modules: readonly string[];
  /** Programs and libraries beside BusyBox: by Debian package, a pattern of a file's path in it, and where it goes in the guest. */
  programs?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Words for the kernel; the person's own are added behind. */
  commandLine: string;
  /** Memory that the guest gets unless told otherwise. */
  memoryMiB: number;
}

export async function readRecipe(name: string): Promise<Recipe> {
  try {
    return JSON.parse(await readFile(join(recipeFolder, name, 'recipe.json'), 'utf8')) as Recipe;
  } catch (error) {
    throw new CliError(ExitCode.usage, `there is no image "${name}"`, 'revenant images list', error);
  }
}

/** Names of all images made from packages, sorted. */
export async function recipeNames(): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(recipeFolder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const files = await readdir(join(recipeFolder, entry.name));
    if (files.includes('recipe.json')) names.push(entry.name);
  }
  return names.sort();
}
