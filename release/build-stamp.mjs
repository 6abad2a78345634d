/**
 * Whether what was built is of the sources as they are. The build steps know that too, but each is a Node process that loads a build tool
 * first; this is asked before every command, so it looks at names, sizes and times alone, of sources and of what was made of them. A
 * change of a file always changes one of its times: ctime follows the clock, whatever sets mtime. It uses nothing but Node 20's own modules.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** All that the build steps read, and the steps themselves. Packages of others are as the lock file says. */
const sources = ['launcher.mjs', 'package.json', 'package-lock.json', 'packages', 'images/builtin'];
const outputs = ['build/emulator', 'build/threads', 'build/cli', 'build/console', 'build/console.hash'];
const stampFile = 'build/stamp.json';
/** A file may change again without another time or size, where the clock of the file system has no finer steps. */
const settledMs = 2000;

export class BuildStamp {
  #root;
  #settledMs;
  #began;

  /** @param {string} root of the repository */
  constructor(root, options = {}) {
    this.#root = root;
    this.#settledMs = options.settledMs ?? settledMs;
  }

  /** Whether nothing has changed since a build that was noted. */
  isCurrent() {
    let noted;
    try {
      noted = JSON.parse(readFileSync(join(this.#root, stampFile), 'utf8'));
    } catch {
      return false;
    }
    return noted?.sources === this.#list(sources).hash && noted.outputs === this.#list(outputs).hash;
  }

  /** Before the steps: what changes from now on is not in what they make. */
  begin() {
    this.#began = { at: Date.now(), ...this.#list(sources) };
  }

  /** After the steps, all of which came to a good end. Nothing is noted of sources that have only just changed: the next command asks the steps again. */
  end() {
    const { at, hash, newest } = this.#began;
    if (newest + this.#settledMs > at) return;
    const file = join(this.#root, stampFile);
    const temporary = `${file}.${process.pid}`;
    mkdirSync(join(this.#root, 'build'), { recursive: true });
    writeFileSync(temporary, JSON.stringify({ sources: hash, outputs: this.#list(outputs).hash }));
    renameSync(temporary, file);
  }

  /** Of everything below these paths; what is not there is missing from the hash. */
  #list(paths) {
    const hash = createHash('sha256');
    let newest = 0;
    const add = (path) => {
      const stats = statSync(join(this.#root, path), { throwIfNoEntry: false });
      if (stats === undefined) return;
      if (stats.isDirectory()) {
        for (const name of readdirSync(join(this.#root, path)).sort())
          if (name !== 'node_modules' && !name.endsWith('.test.ts')) add(`${path}/${name}`);
        return;
      }
      newest = Math.max(newest, stats.mtimeMs, stats.ctimeMs);
      hash.update(`${path}\n${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}\n`);
    };
    paths.forEach(add);
    return { hash: hash.digest('hex'), newest };
  }
}
