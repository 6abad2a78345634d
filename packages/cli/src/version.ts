/** What `revenant --version` says: which release this is, which state of the sources it was made of, and what runs it. */
import { readFileSync } from 'node:fs';

/** The part of package.json that is read; release/pack.ts writes the commit. */
interface Release {
  version: string;
  repositoryCommit?: string;
}

export function versionLine(): string {
  const { version, repositoryCommit } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as Release;
  const origin = repositoryCommit === undefined ? 'run from its sources' : `commit ${repositoryCommit}`;
  return `revenant ${version} (${origin}; Node ${process.versions.node}, V8 ${process.versions.v8})`;
}
