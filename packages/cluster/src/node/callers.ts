/**
 * Who may ask a node, and for what: whoever proves the cluster's token may do everything, and so may each person of the people file
 * what their role allows (docs/CLUSTER_PROTOCOL.md, "Roles"). Every node has the same file.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { ClusterError, messageOf } from '../errors.ts';
import { roles, type Caller, type Role } from '../protocol/page.ts';

interface Person extends Caller {
  token: string;
}

const maxPeople = 256;
const minToken = 16;
/** How often it is looked whether the file changed. */
const lookMs = 1000;
const linePattern = /^([A-Za-z0-9][A-Za-z0-9_-]{0,31})\s+(\w+)\s+(\S+)$/;

/** Lines `NAME ROLE TOKEN`; empty ones and those that begin with # are left out. Throws `BAD_REQUEST`, without any token in it. */
export function parsePeople(text: string): Person[] {
  const people: Person[] = [];
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const refuse = (why: string): never => {
      throw new ClusterError('BAD_REQUEST', `line ${String(at + 1)}: ${why}`, {
        hint: `a person is a line of NAME ROLE TOKEN; roles: ${roles.join(', ')}`,
      });
    };
    const [, name = '', roleText = '', token = ''] = linePattern.exec(line) ?? refuse('not NAME ROLE TOKEN');
    const role = roles.find((each) => each === roleText) ?? refuse(`there is no role ${roleText}`);
    if (token.length < minToken) refuse(`the token of ${name} has less than ${String(minToken)} characters`);
    if (people.some((other) => other.name === name || other.token === token))
      refuse(`${name} has the name or the token of somebody above`);
    if (people.push({ name, role, token }) > maxPeople) refuse(`more than ${String(maxPeople)} people`);
  }
  return people;
}

export class Callers {
  readonly clusterToken: string | undefined;
  readonly #path: string | undefined;
  readonly #trouble: (why: string) => void;
  #people: Person[] = [];
  #changedMs = -1;
  #lookedAt = -Infinity;

  /**
   * @param path of the people file, which is read again when it changes: whoever is taken out of it gets in no more
   * @param trouble hears why a changed file could not be read; what was read before counts on
   * @throws ClusterError `BAD_REQUEST`
   */
  constructor(
    clusterToken: string | undefined,
    path: string | undefined,
    trouble: (why: string) => void = () => undefined,
  ) {
    this.clusterToken = clusterToken;
    this.#path = path;
    this.#trouble = trouble;
    if (path === undefined) return;
    if (clusterToken === undefined)
      throw new ClusterError('BAD_REQUEST', '--people-file without --token-file', {
        hint: "nodes know each other by the cluster's token: give both",
      });
    try {
      this.#read(path);
    } catch (error) {
      throw new ClusterError('BAD_REQUEST', `--people-file ${path}: ${messageOf(error)}`, {
        cause: error,
        ...(error instanceof ClusterError && error.hint !== undefined ? { hint: error.hint } : {}),
      });
    }
  }

  /** Everybody with a token. */
  *tokens(): Generator<{ token: string; caller: Caller }> {
    this.#look();
    if (this.clusterToken !== undefined)
      yield { token: this.clusterToken, caller: { name: '', role: 'admin' } };
    for (const { token, name, role } of this.#people) yield { token, caller: { name, role } };
  }

  /** Who sent a token as it is (`Bearer TOKEN`), as those do that read metrics: a person with the role `view` is enough for them. */
  bearer(authorization: string): Caller | undefined {
    const said = createHash('sha256')
      .update(/^Bearer (.{1,512})$/.exec(authorization)?.[1] ?? '')
      .digest();
    for (const { token, caller } of this.tokens())
      if (timingSafeEqual(createHash('sha256').update(token).digest(), said)) return caller;
    return undefined;
  }

  /** Whether somebody of this name has this role still. */
  isCaller({ name, role }: Caller): boolean {
    if (name === '') return role === 'admin';
    this.#look();
    return this.#people.some((person) => person.name === name && person.role === role);
  }

  #look(): void {
    if (this.#path === undefined || performance.now() - this.#lookedAt < lookMs) return;
    try {
      this.#read(this.#path);
    } catch (error) {
      this.#trouble(`the people file can't be read, so what it said before counts: ${messageOf(error)}`);
    }
  }

  #read(path: string): void {
    this.#lookedAt = performance.now();
    const { mtimeMs } = statSync(path);
    if (mtimeMs === this.#changedMs) return;
    this.#people = parsePeople(readFileSync(path, 'utf8'));
    this.#changedMs = mtimeMs;
  }
}

/** A caller as people read it. */
export const callerName = ({ name, role }: Caller): string =>
  name === '' ? "somebody with the cluster's token" : `${name} (${role})`;

/** Throws `UNAUTHORIZED` when a caller may not do what needs `role`. */
export function requireRole(caller: Caller, role: Role, what: string): void {
  if (roles.indexOf(caller.role) >= roles.indexOf(role)) return;
  throw new ClusterError(
    'UNAUTHORIZED',
    `${what} needs the role ${role}, and ${callerName(caller)} has not`,
    {
      hint: 'ask whoever keeps the people file, or use another token',
    },
  );
}
