/** Scripts that let a shell complete the words of `revenant`, made from the table of commands. */
import type { Group } from './command.ts';

/** A place on the command line: `vm create`, and what may stand there. */
interface Place {
  path: string;
  summary: string;
  commands: { name: string; summary: string }[];
  options: { name: string; takesValue: boolean; help: string }[];
}

async function places(group: Group, path: string): Promise<Place[]> {
  const here: Place = { path, summary: group.summary, commands: [], options: [] };
  const found = [here];
  for (const [name, listed] of Object.entries(group.commands)) {
    const { summary } = listed;
    const below = path === '' ? name : `${path} ${name}`;
    here.commands.push({ name, summary });
    if (!('load' in listed)) {
      found.push(...(await places(listed, below)));
      continue;
    }
    const { options } = (await listed.load()).command;
    found.push({
      path: below,
      summary,
      commands: [],
      options: Object.entries(options).map(([option, { placeholder, help }]) => ({
        name: option,
        takesValue: placeholder !== undefined,
        help: help.split('\n')[0] ?? '',
      })),
    });
  }
  return found;
}

/** Each command word leads from one place to the next; what is no command leaves the place as it is. */
function bash(all: readonly Place[]): string {
  const steps = all.flatMap(({ path, commands }) =>
    commands.map(({ name }) => `    "${path}:${name}") at="${path === '' ? name : `${path} ${name}`}" ;;`),
  );
  const words = all.map(({ path, commands, options }) => {
    const may = [
      ...commands.map(({ name }) => name),
      ...options.map(({ name }) => `--${name}`),
      '--help',
      ...(path === '' ? ['--version'] : []),
    ];
    return `    "${path}") words="${may.join(' ')}" ;;`;
  });
  return `# bash completion of revenant: source <(revenant completion bash)
_revenant() {
  local at="" words="" i current="\${COMP_WORDS[COMP_CWORD]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at:\${COMP_WORDS[i]}" in
${steps.join('\n')}
    esac
  done
  case "$at" in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _revenant revenant
`;
}

const zsh = (all: readonly Place[]): string => `#compdef revenant
# zsh completion of revenant: source <(revenant completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(all)}`;

const quoted = (text: string): string => `'${text.replace(/[\\']/g, (sign) => `\\${sign}`)}'`;

function fish(all: readonly Place[]): string {
  const steps = all.flatMap(({ path, commands }) =>
    commands.map(({ name }) => {
      const to = path === '' ? name : `${path} ${name}`;
      return `      case ${quoted(`${path}:${name}`)}\n        set at ${quoted(to)}`;
    }),
  );
  const lines = all.flatMap(({ path, commands, options }) => {
    const where = `complete -c revenant -n ${quoted(`__revenant_at "${path}"`)}`;
    return [
      ...commands.map(({ name, summary }) => `${where} -f -a ${quoted(name)} -d ${quoted(summary)}`),
      ...options.map(
        ({ name, takesValue, help }) => `${where} -l ${name}${takesValue ? ' -r' : ''} -d ${quoted(help)}`,
      ),
    ];
  });
  return `# fish completion of revenant: revenant completion fish | source
function __revenant_at
  set -l at ''
  for word in (commandline -opc)[2..]
    switch "$at:$word"
${steps.join('\n')}
    end
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}

const shells: ReadonlyMap<string, (all: readonly Place[]) => string> = new Map([
  ['bash', bash],
  ['zsh', zsh],
  ['fish', fish],
]);

export const shellNames: readonly string[] = [...shells.keys()];

/** The script for one of `shellNames`; undefined for another shell. */
export async function completionScript(root: Group, shell: string): Promise<string | undefined> {
  return shells.get(shell)?.(await places(root, ''));
}
