/** `revenant vm copy`: a file into a guest or out of it, without a network. */
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { finished } from 'node:stream/promises';
import type { ClusterClient } from '@revenant/cluster';
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { CliError, ExitCode, messageOf } from '../../errors.ts';

/** `VM:PATH`; a path of this host has no colon before its first slash. */
function inGuest(word: string): { vm: string; path: string } | undefined {
  const [, vm, path] = /^([^/:]+):(.+)$/s.exec(word) ?? [];
  return vm === undefined || path === undefined ? undefined : { vm, path };
}

/** Arguments: where to, the name of a file in a folder that is there, access rights. It appears whole or not at all. */
const takeFile = `[ -d "$1" ] && set -- "\${1%/}/$2" "$2" "$3"
cat >"$1.part" && chmod "$3" "$1.part" && mv -f "$1.part" "$1" || { rm -f "$1.part"; exit 1; }`;

async function run(
  client: ClusterClient,
  vm: string,
  job: Omit<Parameters<ClusterClient['exec']>[1], 'stderr'>,
): Promise<void> {
  let errors = '';
  const stderr = (bytes: Uint8Array): void => {
    errors = (errors + Buffer.from(bytes).toString()).slice(0, 1000);
  };
  const status = await client.exec(vm, { ...job, stderr });
  if (status !== 0)
    throw new CliError(
      ExitCode.cannotWrite,
      `${vm}: ${errors.trim().split('\n').at(-1) || `status ${status}`}`,
    );
}

async function copyIn(client: ClusterClient, from: string, to: { vm: string; path: string }): Promise<void> {
  const about = await stat(from).catch((error: unknown) => {
    throw new CliError(ExitCode.badInput, `can't read '${from}': ${messageOf(error)}`, 'check the path');
  });
  if (!about.isFile())
    throw new CliError(
      ExitCode.badInput,
      `'${from}' is no file`,
      `tar -c ${from} | revenant vm exec ${to.vm} --stdin -- tar -x`,
    );
  const mode = (about.mode & 0o777).toString(8);
  const command = ['sh', '-c', takeFile, 'sh', to.path, basename(from), mode];
  await run(client, to.vm, { command, stdin: createReadStream(from) as AsyncIterable<Uint8Array> });
}

async function copyOut(client: ClusterClient, from: { vm: string; path: string }, to: string): Promise<void> {
  const isFolder = (await stat(to).catch(() => undefined))?.isDirectory() === true;
  const target = isFolder ? `${to}/${basename(from.path)}` : to;
  const part = `${target}.part`;
  const file = createWriteStream(part);
  try {
    await run(client, from.vm, {
      command: ['cat', '--', from.path],
      stdout: (bytes) => file.write(bytes),
      durable: false,
    });
    file.end();
    await finished(file);
    await rename(part, target);
  } catch (error) {
    file.destroy();
    await rm(part, { force: true });
    throw error;
  }
}

const { json: _, ...copyOptions } = connectOptions;

export const command = define({
  words: ['FROM', 'TO'],
  about: `By the agent that vm exec uses. A file that is copied into a guest appears there whole, once, and is durable when the command ends.`,
  options: copyOptions,
  examples: ['vm copy page.html web:/srv/www/index.html', 'vm copy web:/var/log/messages messages'],
  async run({ words: [from = '', to = ''], options }) {
    const [source, target] = [inGuest(from), inGuest(to)];
    await withCluster({ ...options, json: false }, async (client) => {
      if (source === undefined && target !== undefined) return copyIn(client, from, target);
      if (source !== undefined && target === undefined) return copyOut(client, source, to);
      throw new CliError(
        ExitCode.usage,
        'one of both is a file in a guest, NAME:PATH',
        'revenant vm copy --help',
      );
    });
    return undefined;
  },
});
