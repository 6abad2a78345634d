/** Looks into checkpoints of the cluster, off the page's thread: the command line's inspector, over pages that a node gives. */
import {
  cpuOf,
  disassembleAt,
  GuestMemory,
  hex,
  inspectLinux,
  logLine,
  readAt,
  registersText,
  type CheckpointView,
} from '@revenant/debugger/inspect';
import type { EngineModules } from '@revenant/emulator';
import { fetchEngineModules, makeBrowserEngine } from '@revenant/emulator/host-browser';
import type { NodeAccess } from '../shared/node-files.ts';
import { changedFields } from './changed-fields.ts';
import {
  isReplayed,
  type Changes,
  type FromInspector,
  type Inspected,
  type LinuxFound,
  type QuestionKind,
  type Questions,
  type ToInspector,
} from './messages.ts';
import { Replay } from './replay.ts';
import { readMap, RemoteView } from './remote-view.ts';

const codeLines = 24;
const memoryBytes = 256;
const bytesInLine = 16;
const logLines = 200;
const maxFields = 500;
const maxOpen = 4;

const scope = self as unknown as {
  postMessage(message: FromInspector): void;
  addEventListener(type: 'message', listener: (event: MessageEvent<ToInspector>) => void): void;
};

const reading = new Map<
  number,
  { resolve: (bytes: Uint8Array<ArrayBuffer>) => void; reject: (error: Error) => void }
>();
let reads = 0;

/** The page reads for its worker: it knows which node answers now. */
function read(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const id = ++reads;
  return new Promise((resolve, reject) => {
    reading.set(id, { resolve, reject });
    scope.postMessage({ read: id, path });
  });
}

/** Those looked at last, by address. */
const views = new Map<string, Promise<RemoteView>>();

/** The processor's modules, beside the page. They come at once: the node that has them may be gone when they are needed. */
let modules = fetchModules();
modules.catch(() => undefined);

function fetchModules(): Promise<EngineModules> {
  return fetchEngineModules(new URL('../emulator/', self.location.href));
}

/** The one that is kept, and of which checkpoint. */
let replay: { address: string; running: Promise<Replay> } | undefined;

async function replayOf(node: NodeAccess, address: string): Promise<Replay> {
  if (replay?.address === address) return replay.running;
  modules = modules.catch(fetchModules);
  const running = modules.then((ready) => Replay.open(node, address, makeBrowserEngine(ready)));
  const now = { address, running };
  replay = now;
  running.catch(() => {
    if (replay === now) replay = undefined;
  });
  return running;
}

async function viewFor(about: Inspected): Promise<CheckpointView> {
  if (!isReplayed(about.address)) return viewOf(about);
  if (replay === undefined) throw new Error('this moment is no longer here: replay it again');
  return (await replay.running).view;
}

function viewOf({ address }: Inspected): Promise<RemoteView> {
  const known = views.get(address);
  if (known !== undefined) return known;
  const opening = RemoteView.open(read, address);
  views.set(address, opening);
  opening.catch(() => views.delete(address));
  for (const oldest of views.keys()) if (views.size > maxOpen) views.delete(oldest);
  return opening;
}

/** `0x…` or digits; undefined for nothing. Throws Error for anything else. */
function addressOf(word: string | undefined): bigint | undefined {
  if (word === undefined || word.trim() === '') return undefined;
  const digits = word.trim().replace(/^0x/i, '');
  if (!/^[0-9a-f]{1,16}$/i.test(digits))
    throw new Error(`${word} is no address: write it as 0xffffffff81000000`);
  return BigInt(`0x${digits}`);
}

function dump(start: bigint, bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += bytesInLine) {
    const piece = [...bytes.subarray(at, at + bytesInLine)];
    const digits = piece.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const shown = piece
      .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'))
      .join('');
    lines.push(`${hex(start + BigInt(at), 16).slice(2)}  ${digits.padEnd(3 * bytesInLine)} |${shown}|`);
  }
  return lines.join('\n');
}

async function changes({ address, before, beforeAddress }: Questions['changes']['with']): Promise<Changes> {
  const [now, was] = await Promise.all([viewOf({ address }), viewOf({ address: beforeAddress })]);
  const maps = now.spaces.map(async ({ name, pageSize }) => ({
    space: name,
    pageSize,
    kinds: await readMap(read, address, { space: name, before }),
  }));
  const fields = changedFields(was.state, now.state);
  return {
    maps: await Promise.all(maps),
    fields: fields.slice(0, maxFields),
    left: Math.max(0, fields.length - maxFields),
  };
}

async function linux(about: Inspected, progress: (done: number, of: number) => void): Promise<LinuxFound> {
  const found = await inspectLinux(await viewFor(about), ({ donePages, totalPages }) =>
    progress(donePages, totalPages),
  );
  return {
    banner: found.kernel.banner,
    commandLine: found.commandLine ?? '',
    processes: 'value' in found.tasks ? found.tasks.value.processes : found.tasks.missing,
    log: 'value' in found.log ? found.log.value.slice(-logLines).map(logLine) : found.log.missing,
  };
}

const answers: {
  [K in QuestionKind]: (
    about: Questions[K]['with'],
    progress: (done: number, of: number) => void,
  ) => Promise<Questions[K]['answer']>;
} = {
  registers: async (about) => registersText(cpuOf(await viewFor(about))),
  code: async (about) => {
    const memory = new GuestMemory(await viewFor(about));
    const { lines, here } = await disassembleAt(memory, { address: addressOf(about.at), count: codeLines });
    return lines.map(({ address, bytes, text }) => ({
      address: hex(address, 8).slice(2),
      bytes: [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
      text,
      here: address === here,
    }));
  },
  memory: async (about) => {
    const memory = new GuestMemory(await viewFor(about));
    const address = addressOf(about.at) ?? memory.cpu.segments.ss.base + memory.cpu.rsp;
    return dump(address, (await readAt(memory, { address, length: memoryBytes, physical: false })).bytes);
  },
  linux,
  replay: async ({ node, address, toMs }, progress) =>
    (await replayOf(node, address)).goTo(toMs, (ms) => progress(ms, toMs)),
  changes,
};

scope.addEventListener('message', ({ data }) => {
  if ('read' in data) {
    const waiting = reading.get(data.read);
    reading.delete(data.read);
    if ('error' in data) waiting?.reject(new Error(data.error));
    else waiting?.resolve(data.bytes);
    return;
  }
  const { id, kind, about } = data;
  const answer = answers[kind] as (
    about: unknown,
    progress: (done: number, of: number) => void,
  ) => Promise<unknown>;
  answer(about, (done, of) => scope.postMessage({ id, done, of })).then(
    (value) => scope.postMessage({ id, answer: value }),
    (error: unknown) =>
      scope.postMessage({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
