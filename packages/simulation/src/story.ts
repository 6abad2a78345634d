/**
 * A story: commands to a small cluster without chance, and the trace that follows. Stories are read by people (stories/*.txt) and run as
 * tests: whoever changes what is decided sees in them what it means. Nothing here is random: every delay is the same each time, and
 * whatever the decisions are given is frozen.
 */
import type { Command, VmSpec } from '@revenant/cluster';
import { Random } from './random.ts';
import { World } from './world.ts';

/** The middle of everything; what may happen by chance does not. */
class NoChance extends Random {
  override next(): number {
    return 0.5;
  }
  override chance(): boolean {
    return false;
  }
  override integer(low: number): number {
    return low;
  }
  override pick<T>(items: readonly T[]): T {
    return items[0]!;
  }
}

function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text);
  if (match === null) throw new Error(`${text} is no time: write 500ms or 3s`);
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}

export class Story {
  #world: World | undefined;
  #lines: string[] = [];
  #asked = 0;

  /** Carries one line out. @returns the trace of what happened meanwhile */
  tell(line: string): string[] {
    const [verb = '', ...words] = line.split(/\s+/);
    this.#lines = [];
    if (verb === 'nodes') this.#begin(words);
    else this.#act(verb, words);
    return this.#lines;
  }

  get #here(): World {
    if (this.#world === undefined) throw new Error('a story begins with `nodes NAME…`');
    return this.#world;
  }

  #begin(ids: string[]): void {
    this.#world = new World(1, { story: { random: new NoChance(0), ids } });
    this.#world.onTrace = (line) => {
      this.#lines.push(line.trim());
    };
    this.#world.onAnswer = ({ id, error }) => {
      this.#world?.trace(`answer to ${id}: ${error === null ? 'done' : `${error.code}: ${error.message}`}`);
    };
  }

  #act(verb: string, words: string[]): void {
    const world = this.#here;
    const [first = '', ...rest] = words;
    const node = () => {
      const found = world.nodes.get(first);
      if (found === undefined) throw new Error(`${verb}: there is no node ${first}`);
      return found;
    };
    switch (verb) {
      case 'run':
        return this.#run(durationMs(first));
      case 'ask':
        return this.#ask(first, rest);
      case 'kill':
        return node().crash();
      case 'start':
        return node().restart();
      case 'freeze':
        return node().freeze();
      case 'thaw':
        return node().thaw();
      case 'leave':
        return node().leave();
      case 'poison':
        world.poisoned = first;
        world.endsNodes = rest[0] === 'ends-nodes';
        return;
      case 'cut':
        return this.#cut(words);
      case 'heal':
        world.network.cuts.clear();
        return;
      case 'store':
        for (const id of rest.length > 0 ? rest : world.nodes.keys())
          if (first === 'away') world.store.roads.set(id, 'cut');
          else world.store.roads.delete(id);
        return;
      case 'vms':
        return this.#vms();
      default:
        throw new Error(`a story has no ${verb}`);
    }
  }

  #run(ms: number): void {
    const { scheduler } = this.#here;
    let over = false;
    scheduler.after(ms, () => (over = true));
    while (!over && scheduler.step());
  }

  /** `ask NODE COMMAND [VM] [NAME=VALUE…]` */
  #ask(at: string, [type = '', ...words]: string[]): void {
    const values = new Map(
      words.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]),
    );
    const [name] = words.filter((word) => !word.includes('='));
    const group = values.get('group');
    const spec: VmSpec = {
      ...{ runtime: 'chain', description: {}, memoryMiB: Number(values.get('memory') ?? 512) },
      ...{ priority: Number(values.get('priority') ?? 0), outputs: 'async' },
      ...(group === undefined ? {} : { antiAffinity: group }),
    };
    const to = values.get('to');
    const command = {
      type,
      ...(type.startsWith('vm-') ? { vmId: name } : type === 'balancing' ? {} : { node: name }),
      ...(type === 'vm-create' ? { spec, start: true } : {}),
      ...(to === undefined ? {} : { to }),
      ...(type === 'balancing' ? { automatic: name === 'on' } : {}),
    } as Command;
    const id = `c${String(++this.#asked)}`;
    this.#here.nodes.get(at)?.local(() => {
      this.#here.nodes.get(at)?.handle({ type: 'command', id, command });
    });
  }

  /** `cut a b` cuts a off from all others, then b too; `cut a>b` only what a says to b. */
  #cut(words: string[]): void {
    const { network, nodes } = this.#here;
    for (const word of words) {
      if (word.includes('>')) network.cuts.add(word);
      else
        for (const other of nodes.keys())
          if (other !== word)
            for (const way of [`${word}>${other}`, `${other}>${word}`]) network.cuts.add(way);
    }
  }

  /** The protected list as it is stored. */
  #vms(): void {
    const { list } = this.#here.checker;
    this.#lines.push(`term ${String(list?.term)}, master ${list?.master?.node ?? 'none'}`);
    for (const vm of Object.values(list?.vms ?? {}))
      this.#lines.push(
        `${vm.id}: ${vm.status} on ${vm.assignment?.node ?? 'no node'}, tries ${String(vm.tries)}: ${vm.reason}${vm.stays === undefined ? '' : `; stays: ${vm.stays}`}`,
      );
  }
}

/** Runs the text of a story, and gives it back with the trace as it is now. */
export function retell(text: string): string {
  const story = new Story();
  const told: string[] = [];
  for (const block of text.trimEnd().split(/\n\n+/)) {
    const lines = block.split('\n');
    const end = lines.indexOf('----');
    const commands = end < 0 ? lines : lines.slice(0, end);
    if (commands.every((line) => line.startsWith('#'))) {
      told.push(commands.join('\n'));
      continue;
    }
    const trace = commands.filter((line) => !line.startsWith('#')).flatMap((line) => story.tell(line));
    told.push([...commands, '----', ...(trace.length > 0 ? trace : ['nothing happens'])].join('\n'));
  }
  return `${told.join('\n\n')}\n`;
}
