/** The MCP server as its clients use it: by the protocol's own client, over the standard streams of `revenant mcp`, against a real node. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ClusterNode, makeSettings } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const timeoutMs = 600_000;

interface Answer {
  isError?: boolean;
  content: ({ type: 'text'; text: string } | { type: 'image'; data: string; mimeType: string })[];
}

describe('revenant mcp', { timeout: 1_800_000 }, () => {
  let folder = '';
  let store = '';
  let node: ClusterNode;
  const clients: Client[] = [];
  before(async () => {
    buildModules(() => undefined);
    folder = await mkdtemp(join(tmpdir(), 'revenant-mcp-'));
    store = `file:${join(folder, 'store')}`;
    const settings = makeSettings('default', { checkpointMs: 200 });
    const where = { name: 'a', store, listen: '127.0.0.1:0', memoryMiB: 512 };
    node = await ClusterNode.start({ ...where, settings, logLevel: 'silent' });
  });
  after(async () => {
    for (const client of clients) await client.close();
    await node.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function start(...words: string[]): Promise<Client> {
    const client = new Client({ name: 'test', version: '1' });
    const args = [main, 'mcp', '--node', node.address, '--store', store, ...words];
    await client.connect(new StdioClientTransport({ command: process.execPath, args }), {
      timeout: timeoutMs,
    });
    clients.push(client);
    return client;
  }

  async function call(client: Client, name: string, given: Record<string, unknown>): Promise<Answer> {
    const answer = await client.callTool({ name, arguments: given }, undefined, { timeout: timeoutMs });
    return answer as unknown as Answer;
  }

  /** What a tool answers that does what it is asked. */
  async function ask(client: Client, name: string, given: Record<string, unknown> = {}): Promise<string> {
    const { isError, content } = await call(client, name, given);
    const [first] = content;
    assert.ok(first?.type === 'text');
    assert.notEqual(isError, true, first.text);
    return first.text;
  }

  async function refused(client: Client, name: string, given: Record<string, unknown>): Promise<string> {
    const { isError, content } = await call(client, name, given);
    const [first] = content;
    assert.ok(first?.type === 'text');
    assert.equal(isError, true, first.text);
    return first.text;
  }

  test('a program makes a machine, types, looks, keeps, goes back, forks, replays and deletes', async () => {
    const client = await start('--max-vms', '2', '--memory', '64M');
    const { tools } = await client.listTools();
    const names = [
      'list',
      'create',
      'fork',
      'exec',
      'screenshot',
      'type',
      'checkpoints',
      'snapshot',
      'revert',
      'replay',
      'delete',
    ];
    assert.deepEqual(
      tools.map(({ name }) => name),
      names,
    );
    for (const { inputSchema } of tools) assert.equal(inputSchema.type, 'object');

    const made = await ask(client, 'create', {
      name: 'one',
      image: 'builtin',
      memoryMiB: 16,
      replayable: true,
    });
    assert.match(made, /"status": "running"/);
    const heard = await ask(client, 'type', { vm: 'one', text: 'x', untilText: 'step', waitSeconds: 60 });
    assert.match(heard, /step \d+/);
    const { content } = await call(client, 'screenshot', { vm: 'one' });
    const picture = content.find((each) => each.type === 'image');
    assert.equal(
      Buffer.from(picture?.data ?? '', 'base64')
        .subarray(1, 4)
        .toString(),
      'PNG',
    );

    assert.match(await ask(client, 'snapshot', { vm: 'one', name: 'begun' }), /"name": "begun"/);
    const forked = await ask(client, 'fork', { vm: 'one', name: 'two', at: 'begun' });
    assert.match(forked, /"name": "two",\s+"status": "running"/);
    assert.match(await ask(client, 'list'), /"forkOf": \{\s+"vm": "one"/);
    assert.match(await ask(client, 'checkpoints', { vm: 'one' }), /"begun"[^]*"instructions"/);
    assert.match(await ask(client, 'replay', { vm: 'one' }), /"instructions":"\d+"/);
    assert.match(await ask(client, 'revert', { vm: 'one', name: 'begun' }), /"status": "running"/);

    assert.match(await refused(client, 'create', { name: 'three', image: 'builtin' }), /may have 2 at once/);
    assert.match(await ask(client, 'delete', { vm: 'two' }), /"deleted": true/);
    assert.match(
      await refused(client, 'create', { name: 'three', image: 'builtin', memoryMiB: 64 }),
      /may have 64 MiB/,
    );
    const both = await Promise.all(
      ['three', 'four'].map((name) => call(client, 'create', { name, image: 'builtin', memoryMiB: 16 })),
    );
    assert.equal(both.filter(({ isError }) => isError === true).length, 1, 'two at once are counted');
  });

  test('what does not fit is told in words, and the server goes on', async () => {
    const client = await start();
    assert.match(await refused(client, 'screenshot', { vm: 'nobody' }), /there is no VM nobody|nobody/);
    assert.match(await refused(client, 'create', { name: 'x' }), /image/);
    assert.match(await refused(client, 'delete', { vm: 'one', really: true }), /really/);
    assert.match(await refused(client, 'format', {}), /no tool format/);
    assert.match(await ask(client, 'list'), /"name": "one"/);
  });

  test('a server that may only look offers nothing else', async () => {
    const client = await start('--read-only');
    const { tools } = await client.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['list', 'screenshot', 'checkpoints', 'replay'],
    );
    assert.match(await refused(client, 'delete', { vm: 'one' }), /no tool delete/);
    assert.match(await ask(client, 'list'), /"name": "one"/);
  });
});
