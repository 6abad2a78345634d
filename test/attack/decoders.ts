/**
 * Attacks on the decoders of the cluster's messages: valid messages with some of their bytes changed, and bytes that claim more than they
 * are. Whatever comes, a decoder answers with a message or with the one error that its callers know, in bounded time and memory.
 */
import { isDeepStrictEqual } from 'node:util';
import { ClusterError } from '@revenant/cluster';
import {
  check,
  commandSchema,
  decode,
  decodeConsoleReply,
  decodeConsoleRequest,
  decodeMessage,
  encode,
  maxFrameBytes,
  type Command,
  type ConsoleReply,
  type ConsoleRequest,
  type Message,
} from '@revenant/cluster/protocol';
import { Random } from '../../packages/simulation/src/random.ts';
import { Growth } from './growth.ts';
import { mutate, objectNames } from './mutants.ts';

const spec = {
  runtime: 'chain',
  description: { a: [1, 'b', null] },
  memoryMiB: 16,
  priority: 1,
  outputs: 'async' as const,
};
/** One of each command; their fields are all that a command has. */
export const commands: readonly Command[] = [
  {
    type: 'vm-create',
    vmId: 'v',
    spec: { ...spec, antiAffinity: 'g', checkpointMs: 100, health: { watch: 'console', silentMs: 5000 } },
    start: true,
  },
  { type: 'vm-set', vmId: 'v', outputs: 'log' },
  ...(['vm-start', 'vm-stop', 'vm-pause', 'vm-resume', 'vm-delete'] as const).map((type) => ({
    type,
    vmId: 'v',
  })),
  { type: 'vm-migrate', vmId: 'v', to: 'b' },
  { type: 'drain', node: 'a' },
  { type: 'undrain', node: 'a' },
  { type: 'node-remove', node: 'a', incarnation: 3 },
  { type: 'rebalance' },
];
const view = {
  seq: 1,
  address: '127.0.0.1:1',
  isolated: false,
  stores: 1,
  capacity: { memoryMiB: 64 },
  pressure: 'none' as const,
  powerOn: [{ vmId: 'v', epoch: 1, attempt: 1, state: 'running' as const }],
  reports: [{ vmId: 'w', attempt: 2, kind: 'failed' as const, reason: 'why' }],
};
const messages: readonly Message[] = [
  {
    type: 'heartbeat',
    incarnation: 1,
    counter: 2,
    view,
    hears: ['b'],
    term: 1,
    revision: 3,
    master: 'a',
    ping: true,
  },
  {
    type: 'list',
    list: {
      term: 1,
      master: null,
      revision: 1,
      vms: {},
      maintenance: ['a'],
      networks: {},
      slots: {},
      commands: [{ id: 'x', error: null }],
    },
  },
  { type: 'give-up', vmId: 'v', epoch: 3 },
  ...commands.map((command): Message => ({ type: 'command', id: 'x', command })),
];
const consoles: readonly (ConsoleRequest | ConsoleReply)[] = [
  { type: 'open', session: 's', from: 0 },
  { type: 'input', at: 0, bytes: Uint8Array.of(1, 2, 3) },
  { type: 'output', epoch: 1, resumed: 'boot', at: 0, bytes: Uint8Array.of(1, 2, 3) },
  { type: 'place', epoch: 1, at: 0, durable: 0, known: true },
];

export interface DecoderFigures {
  frames: number;
  accepted: number;
  slowestMs: number;
  /** How much more memory this process held, at the most, than as it began. */
  grownMiB: number;
}

/** Runs one decoder; true when it took the bytes. Throws whatever is not its own refusal. */
function taken(run: () => unknown): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (error instanceof ClusterError && error.code === 'PROTOCOL') return false;
    throw error;
  }
}

/** `frames` mutants for all decoders. Throws, naming the seed and the number, when one fails otherwise. */
export function fuzzDecoders(frames: number, seed: number): DecoderFigures {
  const random = new Random(seed);
  const valid = [...messages, ...consoles].map((message) => encode(message));
  const figures = { frames, accepted: 0, slowestMs: 0, grownMiB: 0 };
  const growth = new Growth();
  for (let frame = 0; frame < frames; frame++) {
    const bytes = mutate(random.pick(valid), random);
    const began = performance.now();
    try {
      for (const decoder of [decodeMessage, decodeConsoleRequest, decodeConsoleReply])
        if (taken(() => decoder(bytes))) figures.accepted++;
    } catch (error) {
      const where = `seed ${String(seed)}, frame ${String(frame)}: ${Buffer.from(bytes).toString('hex')}`;
      throw new Error(where, { cause: error });
    }
    figures.slowestMs = Math.max(figures.slowestMs, performance.now() - began);
    growth.look(frame);
  }
  return { ...figures, grownMiB: growth.mostMiB };
}

/** Frames that claim, or hold, far more values than any message has; all must be refused. */
function bombs(): { name: string; bytes: Uint8Array }[] {
  const full = (value: number, head: readonly number[]): Uint8Array => {
    const bytes = new Uint8Array(maxFrameBytes).fill(value);
    bytes.set(head);
    return bytes;
  };
  const claim = [0xff, 0xff, 0xff, 0xff];
  return [
    ...[0xdd, 0xdf, 0xdb, 0xc6, 0xc9].map((head) => ({
      name: `0x${head.toString(16)} of 2^32 - 1`,
      bytes: Uint8Array.of(head, ...claim),
    })),
    { name: 'four million nils', bytes: full(0xc0, [0xdd, 0, 0x3f, 0xff, 0xfb]) },
    { name: 'four million levels', bytes: full(0x91, []) },
    { name: 'arrays that each claim all that follows', bytes: full(0xdd, []) },
  ];
}

export function dropBombs(): { name: string; ms: number }[] {
  return bombs().map(({ name, bytes }) => {
    const began = performance.now();
    for (const decoder of [decode, decodeMessage, decodeConsoleRequest])
      if (taken(() => decoder(bytes))) throw new Error(`${name} was taken for a message`);
    return { name, ms: performance.now() - began };
  });
}

/** Every name that every object has, as each string of each command and as a further field. Throws when one is lost or half taken. */
export function namesInCommands(): number {
  let tried = 0;
  for (const name of objectNames)
    for (const command of commands) {
      for (const field of ['type', 'vmId', 'node', 'to', 'spec', name]) {
        // As JSON from outside: `__proto__` is a field like others there.
        const text = JSON.stringify({ ...command, [field]: name });
        const given: unknown = JSON.parse(text);
        tried++;
        if (!taken(() => check(commandSchema, given, 'a command'))) continue;
        const checked = check(commandSchema, given, 'a command');
        if (!isDeepStrictEqual(checked, given)) throw new Error(`${text} became ${JSON.stringify(checked)}`);
      }
    }
  return tried;
}
