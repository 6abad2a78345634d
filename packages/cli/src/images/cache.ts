/** Where fetched and made things lie: $REVENANT_CACHE, else $XDG_CACHE_HOME/revenant, else ~/.cache/revenant. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env['REVENANT_CACHE']) return resolve(env['REVENANT_CACHE']);
  // The XDG base directory specification ignores relative paths.
  const xdg = env['XDG_CACHE_HOME'];
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.cache'), 'revenant');
}

/** Folder of the recipes: images/ in the root of the repository. */
export const recipeFolder = fileURLToPath(new URL('../../../../images/', import.meta.url));
