/** Options of a command, as a table: `{ memory: value('SIZE', 'memory of the guest', size) }`. */

/** Makes a value of what was typed. @param name the option or word, for the message: `--memory` @throws CliError */
export type Parser<T> = (text: string, name: string) => T;

export interface Option<T> {
  /** What stands behind its name in the help, as in `--memory SIZE`; undefined for a switch. */
  readonly placeholder: string | undefined;
  /** Lines of help. */
  readonly help: string;
  /** From all that was typed for it, in order; nothing when it was not given. */
  read(given: readonly string[], name: string): T;
}

export type Options = Readonly<Record<string, Option<unknown>>>;

export type Values<O extends Options> = {
  readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never;
};

export const asTyped: Parser<string> = (text) => text;

/** A switch: given or not. */
export function flag(help: string): Option<boolean> {
  return { placeholder: undefined, help, read: (given) => given.length > 0 };
}

/** An option with a text; the last one counts when it is given several times. */
export function text(placeholder: string, help: string): Option<string | undefined> {
  return value(placeholder, help, asTyped);
}

/** An option with a value. */
export function value<T>(placeholder: string, help: string, parse: Parser<T>): Option<T | undefined>;
export function value<T>(
  placeholder: string,
  help: string,
  parse: Parser<T>,
  fallback: NoInfer<T>,
): Option<T>;
export function value<T>(
  placeholder: string,
  help: string,
  parse: Parser<T>,
  fallback?: T,
): Option<T | undefined> {
  const read = (given: readonly string[], name: string): T | undefined => {
    const last = given.at(-1);
    return last === undefined ? fallback : parse(last, name);
  };
  return { placeholder, help, read };
}

/** An option that may be given several times. */
export function list(placeholder: string, help: string): Option<string[]>;
export function list<T>(placeholder: string, help: string, parse: Parser<T>): Option<T[]>;
export function list(placeholder: string, help: string, parse: Parser<unknown> = asTyped): Option<unknown[]> {
  return { placeholder, help, read: (given, name) => given.map((each) => parse(each, name)) };
}

/** Of every command whose data a program may want. */
export const jsonOption = flag('output for programs; numbers beyond 2^53 are text');
