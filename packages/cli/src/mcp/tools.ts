/** The tools of the MCP server over VMs: which there are, and making, forking, keeping, going back and deleting them. */
import * as v from 'valibot';
import { parseWords } from '../command/parse.ts';
import { command as createCommand, createVm } from '../commands/vm/create.ts';
import { Input } from '../command/command.ts';
import { execTool, screenshotTool, typeTool } from './guest-tools.ts';
import { replayTool } from './replay-tool.ts';
import { json, told, tool, vmName, type Tool, type ToolContext } from './tool.ts';

const maxForks = 100;
const defaultMemoryMiB = 128;
const label = v.pipe(v.string(), v.maxLength(63));

const listTool = tool('list', {
  about: 'The VMs there are: state, node, memory, what each was forked from, and why it is as it is.',
  takes: v.strictObject({}),
  changes: false,
  run: async (_given, { client }) =>
    json(
      (await client.status()).vms
        .filter(({ desired }) => desired !== 'deleted')
        .map(({ id, status, reason, assignment, spec }) => ({
          ...{ name: id, status, reason, node: assignment?.node ?? null, memoryMiB: spec.memoryMiB },
          ...(spec.origin === undefined ? {} : { forkOf: spec.origin }),
        })),
    ),
});

const createTool = tool('create', {
  about: 'Makes a VM of an image and starts it. Answers when it runs; its guest is up some seconds later.',
  takes: v.strictObject({
    name: vmName,
    image: told(label, 'linux-cloud, linux-amd64, linux-i386, linux-server or builtin'),
    memoryMiB: v.optional(
      told(v.pipe(v.number(), v.integer(), v.minValue(1)), 'its memory'),
      defaultMemoryMiB,
    ),
    network: v.optional(told(label, 'a network of the cluster that its card is in')),
    replayable: v.optional(
      told(v.boolean(), 'keep a log of what comes in, so that its past can be replayed'),
      false,
    ),
  }),
  changes: true,
  run: async ({ name, image, memoryMiB, network, replayable }, { client, made }) =>
    made.make([name], memoryMiB, async () => {
      const words = [name, image, '--memory', `${String(memoryMiB)}M`];
      if (replayable) words.push('--output', 'log');
      if (network !== undefined) words.push('--net', network);
      const input = parseWords('vm create', createCommand, words);
      if (!(input instanceof Input)) throw new Error('words of ours ask for help');
      await createVm(client, name, image, input.options as Parameters<typeof createVm>[3]);
      return running(client, [name]);
    }),
});

const forkTool = tool('fork', {
  about: `Makes VMs that begin where a VM is now (or at a snapshot of it), sharing its memory and disks: as fast as a resume, storing only what each
changes. Each has its own random numbers, generation ID and clock, and in a network its own address.`,
  takes: v.strictObject({
    vm: vmName,
    name: told(label, 'name of the fork; of several: NAME-1, NAME-2, …'),
    count: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(maxForks)), 1),
    at: v.optional(told(label, 'a snapshot by name, or a checkpoint; default: now')),
  }),
  changes: true,
  run: async ({ vm, name, count, at }, { client, made }) => {
    const { memoryMiB } = (await client.vm(vm)).spec;
    const names = count === 1 ? [name] : Array.from({ length: count }, (_, n) => `${name}-${String(n + 1)}`);
    return made.make(names, memoryMiB, async () => {
      let from = at;
      for (const each of names) from = await client.fork(vm, { name: each, checkpoint: from, start: true });
      return running(client, names);
    });
  },
});

async function running(client: ToolContext['client'], names: readonly string[]) {
  const vms = [];
  for (const name of names) {
    const { status, reason } = await client.waitFor(name, ['running', 'failed']);
    vms.push({ name, status, reason });
  }
  return json(vms);
}

const snapshotsTool = tool('checkpoints', {
  about: 'The checkpoints of a VM, the newest last, and its snapshots (checkpoints that are kept by name).',
  takes: v.strictObject({ vm: vmName }),
  changes: false,
  run: async ({ vm }, { client }) => {
    await client.vm(vm);
    return json({
      snapshots: await client.snapshots(vm),
      checkpoints: (await client.checkpoints(vm)).slice(-50),
    });
  },
});

const snapshotTool = tool('snapshot', {
  about: 'Keeps what a VM is now (memory, disks, everything) under a name. It runs on.',
  takes: v.strictObject({ vm: vmName, name: told(label, 'of the snapshot') }),
  changes: true,
  run: async ({ vm, name }, { client }) => json(await client.takeSnapshot(vm, name)),
});

const revertTool = tool('revert', {
  about: 'Takes a VM back to a snapshot, and starts it there. What it did since is given up.',
  takes: v.strictObject({ vm: vmName, name: told(label, 'of the snapshot') }),
  changes: true,
  run: async ({ vm, name }, { client }) => {
    await client.revert(vm, name, { start: true });
    return running(client, [vm]);
  },
});

const deleteTool = tool('delete', {
  about: 'Deletes a VM for good, with its checkpoints. Forks of it stay.',
  takes: v.strictObject({ vm: vmName }),
  changes: true,
  run: async ({ vm }, { client }) => {
    await client.command({ type: 'vm-delete', vmId: vm });
    return json({ vm, deleted: true });
  },
});

export const tools: readonly Tool[] = [
  listTool,
  createTool,
  forkTool,
  execTool,
  screenshotTool,
  typeTool,
  snapshotsTool,
  snapshotTool,
  revertTool,
  replayTool,
  deleteTool,
];
