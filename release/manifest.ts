/** What a published package says of itself, made from the package.json of its sources. */

/** The parts of a package.json that matter here. */
export interface Manifest {
  name: string;
  version: string;
  description: string;
  license: string;
  type: 'module';
  bin?: Record<string, string>;
  exports?: Record<string, string>;
  imports?: Record<string, string | Record<string, string>>;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** An entry of `exports` as it is published: declarations for the compiler, JavaScript for everybody else. */
type PublishedEntry = { types: string; default: string };

/** What npm gets. */
export type PublishedManifest = Omit<Manifest, 'exports'> & {
  exports: Record<string, PublishedEntry | string>;
  engines: Record<string, string>;
  files: string[];
  repositoryCommit: string;
};

/** Where the JavaScript of a source file lies in its package; the tree below `dist` is that of the repository. */
export const compiled = (packageFolder: string, source: string): string =>
  `./dist/${packageFolder}/${source.replace(/^\.\//, '').replace(/\.ts$/, '.js')}`;

function publishedExports(
  folder: string,
  exports: Record<string, string> = {},
): PublishedManifest['exports'] {
  const entries = Object.entries(exports)
    // What tests of the repository share stays there.
    .filter(([, source]) => source.startsWith('./src/'))
    .map(([name, source]): [string, PublishedEntry] => {
      const code = compiled(folder, source);
      return [name, { types: code.replace(/\.js$/, '.d.ts'), default: code }];
    });
  return { ...Object.fromEntries(entries), './package.json': './package.json' };
}

function publishedImports(
  folder: string,
  imports: NonNullable<Manifest['imports']>,
): NonNullable<Manifest['imports']> {
  const path = (source: string): string => compiled(folder, source);
  return Object.fromEntries(
    Object.entries(imports).map(([name, target]) => [
      name,
      typeof target === 'string'
        ? path(target)
        : Object.fromEntries(Object.entries(target).map(([condition, source]) => [condition, path(source)])),
    ]),
  );
}

/**
 * @param folder of the package in the repository, such as `packages/emulator`
 * @param commit which state of the repository it was made from
 */
export function publishedManifest(
  folder: string,
  source: Manifest,
  more: { commit: string; node: string } & Pick<Manifest, 'bin' | 'exports' | 'optionalDependencies'>,
): PublishedManifest {
  const { name, version, description, license, type, dependencies } = source;
  const { commit, node, bin, exports: asTheyAre, optionalDependencies } = more;
  return {
    name,
    version,
    description,
    license,
    type,
    engines: { node },
    files: ['bin', 'dist'],
    exports: { ...publishedExports(folder, source.exports), ...asTheyAre },
    ...(source.imports === undefined ? {} : { imports: publishedImports(folder, source.imports) }),
    ...(bin === undefined ? {} : { bin }),
    ...(dependencies === undefined ? {} : { dependencies }),
    ...(optionalDependencies === undefined ? {} : { optionalDependencies }),
    repositoryCommit: commit,
  };
}
