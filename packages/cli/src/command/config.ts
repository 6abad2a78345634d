/**
 * The configuration file: options that one doesn't want to type every time, in TOML. A table has the name of its command and in it the
 * options of that command by their names; `store`, `node` and `token-file` may stand above all tables, for every command that takes them:
 *
 *     store = "file:/srv/revenant"
 *     [node]
 *     listen = "0.0.0.0:7001"
 *     [vm.create]
 *     memory = "256M"
 *
 * What is typed counts more than what the file says, and what stands above all tables gives way to the variables of the environment too.
 */
import { readFileSync } from 'node:fs';
import { parse, TomlError, type TomlTable, type TomlValue } from 'smol-toml';
import { CliError, ExitCode } from '../errors.ts';
import type { Options } from './options.ts';
import { nearest } from './suggest.ts';

/** Read from the current folder when $REVENANT_CONFIG names no other file. */
const configName = 'revenant.config.toml';
/** What nearly every command takes, and the variable that counts more than the file. */
const shared: ReadonlyMap<string, string> = new Map([
  ['store', 'REVENANT_STORE'],
  ['node', 'REVENANT_NODE'],
  ['token-file', 'REVENANT_TOKEN_FILE'],
]);
/** A file of options is never larger. */
const maxBytes = 1 << 20;

interface ConfigFile {
  path: string;
  table: TomlTable;
}

function refuse({ path }: { path: string }, what: string, hint?: string): never {
  throw new CliError(ExitCode.badInput, `${path}: ${what}`, hint);
}

function readConfig(env: NodeJS.ProcessEnv): ConfigFile | undefined {
  const named = env['REVENANT_CONFIG'];
  const path = named ?? configName;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (named === undefined && code === 'ENOENT') return undefined;
    return refuse({ path }, `can't be read: ${message}`, 'REVENANT_CONFIG names the configuration file');
  }
  if (text.length > maxBytes) refuse({ path }, 'is too large for a configuration file');
  try {
    return { path, table: parse(text) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    return refuse({ path }, `line ${error.line}: ${error.message.split('\n')[0] ?? 'not TOML'}`);
  }
}

const isTable = (value: TomlValue | undefined): value is TomlTable =>
  typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);

/** What would have been typed for the value: one text for each time. */
function asTyped(file: ConfigFile, name: string, value: TomlValue, isSwitch: boolean): string[] {
  if (isSwitch) {
    if (typeof value !== 'boolean') refuse(file, `'${name}' is a switch: true or false`);
    return value ? [''] : [];
  }
  const values = Array.isArray(value) ? value : [value];
  return values.map((each) => {
    if (typeof each === 'string') return each;
    if (typeof each === 'number' || typeof each === 'bigint') return String(each);
    return refuse(file, `'${name}' is neither a text nor a number nor a list of those`);
  });
}

/**
 * The options that the configuration file gives a command, as if they had been typed before the others.
 * @param path the command's whole name, `revenant vm create`
 * @throws CliError when the file can't be read, is no TOML, or has what the command doesn't take
 */
export function configured(
  path: string,
  options: Options,
  env: NodeJS.ProcessEnv = process.env,
): Map<string, string[]> {
  const given = new Map<string, string[]>();
  const file = readConfig(env);
  if (file === undefined) return given;
  const take = (name: string, value: TomlValue): void => {
    given.set(name, asTyped(file, name, value, options[name]?.placeholder === undefined));
  };
  for (const [name, value] of Object.entries(file.table)) {
    if (isTable(value)) continue;
    const variable = shared.get(name);
    if (variable === undefined)
      refuse(
        file,
        `'${name}' belongs into the table of a command`,
        `for example [node]; above all tables stand only ${[...shared.keys()].join(', ')}`,
      );
    if (Object.hasOwn(options, name) && env[variable] === undefined) take(name, value);
  }
  let table: TomlTable = file.table;
  const names = path.split(' ').slice(1);
  for (const name of names) {
    const below = Object.hasOwn(table, name) ? table[name] : undefined;
    if (below === undefined) return given;
    if (!isTable(below)) refuse(file, `'${names.join('.')}' is no table`);
    table = below;
  }
  for (const [name, value] of Object.entries(table)) {
    if (!Object.hasOwn(options, name)) {
      const near = nearest(name, Object.keys(options));
      refuse(
        file,
        `[${names.join('.')}] has '${name}', which ${path} does not take`,
        near === undefined ? `${path} --help lists what it takes` : `did you mean ${near}?`,
      );
    }
    take(name, value);
  }
  return given;
}
