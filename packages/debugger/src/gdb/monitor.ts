/** `monitor …`: what gdb itself has no command for. */
import type { TimeMachine } from '../time/time-machine.ts';
import { screenLines } from '@revenant/emulator';
import { registersText } from '../inspect/registers.ts';
import { readMemory } from './memory.ts';
import type { DebugTarget } from './target.ts';

/** Runs a command, in turns; what it says. */
export type Monitor = (line: string) => Generator<undefined, string>;

export interface MonitorCommand {
  usage: string;
  summary: string;
  run(words: string[], target: DebugTarget): string | Generator<undefined, string>;
}

const maxDump = 4096;

/** A number as C writes it; undefined when it is none. */
export function parseNumber(word: string | undefined): bigint | undefined {
  return word !== undefined && /^(0x[0-9a-f]+|\d+)$/i.test(word) ? BigInt(word) : undefined;
}

/** Nanoseconds of `12.5s`, `300ms`, `40us` or `7ns`. */
export function parseTime(word: string): bigint | undefined {
  const found = /^(\d+)(?:\.(\d{1,9}))?(s|ms|us|ns)$/.exec(word);
  if (found === null) return undefined;
  const unit = { s: 9, ms: 6, us: 3, ns: 0 }[found[3] as 's'];
  const digits = (found[2] ?? '').padEnd(9, '0').slice(0, unit);
  return BigInt(found[1] ?? '0') * 10n ** BigInt(unit) + BigInt(digits === '' ? '0' : digits);
}

const seconds = (ns: bigint): string => `${(Number(ns) / 1e9).toFixed(6)} s`;

function hexDump(bytes: Uint8Array, address: bigint): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = [...row]
      .map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.'))
      .join('');
    lines.push(`${(address + BigInt(at)).toString(16).padStart(8, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  return `${lines.join('\n')}\n`;
}

function dump(words: string[], target: DebugTarget, physical: boolean): string {
  const [address, length] = [parseNumber(words[0]), parseNumber(words[1] ?? '64')];
  if (address === undefined || length === undefined) return 'give an address, and how many bytes (64)\n';
  const bytes = readMemory(
    target.machine,
    address,
    Math.min(Number(length), maxDump),
    physical ? 'physical' : undefined,
  );
  return bytes.length === 0 ? `nothing is mapped at 0x${address.toString(16)}\n` : hexDump(bytes, address);
}

function time(target: TimeMachine): string {
  const { begin, end, count, machine } = target;
  return `instruction ${count}, virtual time ${seconds(machine.timeNs)}\nrecorded from ${begin}${end === undefined ? '' : ` to ${end}`}; ${target.marks.length} bookmarks, ${Math.round(target.bytes / 2 ** 20)} MiB\n`;
}

function* goTo(words: string[], target: TimeMachine): Generator<undefined, string> {
  const [word = ''] = words;
  const atNs = parseTime(word);
  const count =
    word === 'begin'
      ? target.begin
      : word === 'end'
        ? target.end
        : word.startsWith('-')
          ? target.count - (parseNumber(word.slice(1)) ?? 0n)
          : parseNumber(word);
  if (atNs !== undefined) yield* target.goToTime(atNs);
  else if (count === undefined) return 'give an instruction count, -N, a time such as 12.5s, begin or end\n';
  else yield* target.goTo(count);
  return time(target);
}

/** A guest's text without what could command a terminal. */
const plain = (text: string): string =>
  text.replace(
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );

/** What every machine can be asked. */
const commands: Record<string, MonitorCommand> = {
  mem: {
    usage: 'mem ADDRESS [BYTES]',
    summary: 'memory by linear address',
    run: (words, target) => dump(words, target, false),
  },
  xp: {
    usage: 'xp ADDRESS [BYTES]',
    summary: 'memory by physical address',
    run: (words, target) => dump(words, target, true),
  },
  translate: {
    usage: 'translate ADDRESS',
    summary: 'the physical address of a linear one',
    run: ([word], target) => {
      const address = parseNumber(word);
      if (address === undefined) return 'give an address\n';
      const physical = target.machine.memory.translate(address);
      return physical === undefined ? 'not mapped\n' : `0x${physical.toString(16)}\n`;
    },
  },
  'info registers': {
    usage: 'info registers',
    summary: 'all of the processor, bits by name',
    run: (_words, target) => `${registersText(target.machine.registers())}\n`,
  },
  'info screen': {
    usage: 'info screen',
    summary: 'the text on the display',
    run: (_words, { machine }) => {
      const screen = machine.screen();
      if (screen === undefined) return 'there is no text on a display\n';
      return `${screenLines(screen).map(plain).join('\n')}\n`;
    },
  },
  'info device': {
    usage: 'info device NAME',
    summary: 'the state of a chip, such as pit-8254 or uart-16550a-0',
    run: ([name = ''], { machine }) => {
      const state = machine.deviceState(name);
      if (state === undefined) return `there is no device '${name}'\n`;
      const plainValue = (_key: string, value: unknown): unknown =>
        typeof value === 'bigint' ? String(value) : value;
      return `${JSON.stringify(state, plainValue, 2)}\n`;
    },
  },
};

/** What a machine with a past can be asked besides. */
const timeCommands = (target: TimeMachine): Record<string, MonitorCommand> => ({
  time: { usage: 'time', summary: 'where in time this is', run: () => time(target) },
  goto: {
    usage: 'goto COUNT|-N|TIME|begin|end',
    summary: 'goes to another moment',
    run: (words) => goTo(words, target),
  },
  type: {
    usage: 'type TEXT',
    summary: 'types at the first serial port, with a line feed; another future begins',
    run: (words) => {
      const bytes = Buffer.from(`${words.join(' ')}\n`);
      const result = target.input({ kind: 'serial', port: 0, bytes });
      return result === 'taken' || result === 'held' ? '' : `not taken: ${result}\n`;
    },
  },
});

/** What one that lives can be asked besides. */
const liveCommands: Record<string, MonitorCommand> = {
  time: {
    usage: 'time',
    summary: "the guest's own clock, which waits while it stands still",
    run: (_words, { count, machine }) => `instruction ${count}, virtual time ${seconds(machine.timeNs)}\n`,
  },
};

/** For a machine that runs forwards and backwards; `more`: the commands of its host. */
export function makeMonitor(target: TimeMachine, more: Record<string, MonitorCommand> = {}): Monitor {
  return monitorOf(target, { ...timeCommands(target), ...commands, ...more });
}

/** For one that lives. */
export function makeLiveMonitor(target: DebugTarget, more: Record<string, MonitorCommand> = {}): Monitor {
  return monitorOf(target, { ...liveCommands, ...commands, ...more });
}

function monitorOf(target: DebugTarget, all: Record<string, MonitorCommand>): Monitor {
  return function* run(line) {
    const [name = 'help', ...words] = line
      .trim()
      .split(/\s+/)
      .filter((word) => word !== '');
    const two = `${name} ${words[0] ?? ''}`;
    const command = all[two] ?? all[name];
    if (command === undefined) {
      const known = [
        ...Object.values(all),
        { usage: 'physical [on|off]', summary: 'whether m and M mean physical memory' },
      ];
      const help = known.map(({ usage, summary }) => `${usage.padEnd(32)} ${summary}\n`).join('');
      return name === 'help' ? help : `there is no command '${name}'\n${help}`;
    }
    const said = command.run(all[two] === undefined ? words : words.slice(1), target);
    return typeof said === 'string' ? said : yield* said;
  };
}
