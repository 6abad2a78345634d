/** As whom a container's program runs: `USER` of its image (OCI image specification, "config.User") by the image's own /etc/passwd and /etc/group. */
import { CliError, ExitCode } from '../../errors.ts';
import type { ContainerRoot } from './root.ts';

export interface ContainerUser {
  uid: number;
  gid: number;
  /** Further groups. */
  groups: number[];
  /** Where /etc/passwd has the user. */
  home: string | undefined;
}

const maxId = 2 ** 31 - 1;
/** As many as the program that takes the identity on knows. */
const maxGroups = 128;

function linesOf(root: ContainerRoot, path: string): string[][] {
  const text = Buffer.from(root.read(path) ?? []).toString('utf8');
  return text.split('\n').map((line) => line.split(':'));
}

const idOf = (word: string | undefined): number | undefined => {
  const id = /^\d{1,10}$/.test(word ?? '') ? Number(word) : NaN;
  return id <= maxId ? id : undefined;
};

function unknown(what: 'user' | 'group', word: string): never {
  throw new CliError(
    ExitCode.badInput,
    `the image runs as the ${what} ${JSON.stringify(word.slice(0, 100))}, which its /etc/${what === 'user' ? 'passwd' : 'group'} does not know`,
    'build it with its user, or name it by its number',
  );
}

/**
 * `USER` as `NAME`, `UID`, `NAME:GROUP` or `UID:GID`. A number that /etc/passwd does not know runs in group 0, as container engines have it.
 * @throws CliError `badInput` for a name that the image does not know
 */
export function findUser(root: ContainerRoot, user: string | null | undefined): ContainerUser {
  const [name = '', groupName] = (user ?? '').split(':');
  const wanted = name === '' ? '0' : name;
  const passwd = linesOf(root, '/etc/passwd');
  const group = linesOf(root, '/etc/group');
  const known =
    passwd.find(([each]) => each === wanted) ??
    passwd.find(([, , uid]) => idOf(wanted) !== undefined && idOf(uid) === idOf(wanted));
  const uid = idOf(known?.[2]) ?? idOf(wanted) ?? unknown('user', wanted);
  const home = known?.[5] === '' ? undefined : known?.[5];
  if (groupName !== undefined && groupName !== '') {
    const gid =
      idOf(group.find(([each]) => each === groupName)?.[2]) ?? idOf(groupName) ?? unknown('group', groupName);
    return { uid, gid, groups: [], home };
  }
  const groups = group
    .filter(([, , , members = '']) => known !== undefined && members.split(',').includes(known[0]!))
    .flatMap(([, , gid]) => idOf(gid) ?? []);
  return { uid, gid: idOf(known?.[3]) ?? 0, groups: groups.slice(0, maxGroups), home };
}
