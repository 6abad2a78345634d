/** Who may do what, on every route of a node; and that what was asked is noted under the name of who asked. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { isClusterError } from '../errors.ts';
import { requestProof, sha256 } from '../mac.ts';
import { decodeDisplayReply } from '../protocol/display.ts';
import { encode } from '../protocol/msgpack.ts';
import {
  pageSubprotocol,
  decodePageReply,
  roles,
  type PageReply,
  type PageRequest,
  type Role,
} from '../protocol/page.ts';
import { onBehalfHeader, proofSubprotocol, subprotocol } from '../protocol/version.ts';
import { until } from '../testing/until.ts';
import { parsePeople } from './callers.ts';
import { ClusterNode } from './cluster-node.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-roles-test-'));
const token = "the cluster's own token";
const tokens = { view: 'token-of-vera-view', operate: 'token-of-olga-oper', admin: 'token-of-adam-adm0' };
const names = { view: 'vera', operate: 'olga', admin: 'adam' };
const people = join(folder, 'people');
const peopleLines = roles.map((role) => `${names[role]} ${role} ${tokens[role]}`);

interface Asked {
  method: string;
  path: string;
  body?: string | Uint8Array;
  headers?: Record<string, string>;
}

/** The least role that each request takes; whatever the node makes of the request besides. */
const command = (given: object): string => JSON.stringify({ id: crypto.randomUUID(), command: given });
const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' };
const blob = new TextEncoder().encode('a kernel');
const routes: [Role, Asked][] = [
  ['view', { method: 'GET', path: '/v1/status' }],
  ['view', { method: 'GET', path: '/v1/events' }],
  ['view', { method: 'GET', path: '/metrics' }],
  ['view', { method: 'GET', path: '/v1/vms/v/screen' }],
  ['view', { method: 'GET', path: `/v1/blobs/${sha256(blob)}` }],
  ['view', { method: 'POST', path: '/v1/session' }],
  ['view', { method: 'GET', path: '/v1/vms/v/checkpoints' }],
  ['view', { method: 'GET', path: '/v1/figures' }],
  ['view', { method: 'GET', path: '/v1/vms/v/figures' }],
  ['view', { method: 'GET', path: '/v1/images' }],
  ['view', { method: 'GET', path: '/v1/vms/v/checkpoints/latest/map?space=ram' }],
  ['view', { method: 'GET', path: '/v1/vms/v/checkpoints/latest/screen' }],
  ['admin', { method: 'POST', path: '/v1/images/none' }],
  ...['state', 'absent', 'pages', 'machine', 'log'].map((what): [Role, Asked] => [
    'operate',
    { method: 'GET', path: `/v1/vms/v/checkpoints/latest/${what}` },
  ]),
  ['operate', { method: 'POST', path: '/v1/vms/v/keys', body: '{"keys": ["KeyA"]}' }],
  ['operate', { method: 'POST', path: '/v1/vms/v/power-button' }],
  ...['vm-pause', 'vm-resume', 'vm-stop', 'vm-start'].map((type): [Role, Asked] => [
    'operate',
    { method: 'POST', path: '/v1/commands', body: command({ type, vmId: 'w' }) },
  ]),
  ['operate', { method: 'POST', path: '/v1/commands', body: command({ type: 'vm-migrate', vmId: 'w' }) }],
  [
    'admin',
    {
      method: 'POST',
      path: '/v1/commands',
      body: command({ type: 'vm-create', vmId: 'x', spec, start: false }),
    },
  ],
  ['admin', { method: 'POST', path: '/v1/commands', body: command({ type: 'vm-delete', vmId: 'none' }) }],
  ['admin', { method: 'POST', path: '/v1/commands', body: command({ type: 'drain', node: 'none' }) }],
  ['admin', { method: 'POST', path: '/v1/commands', body: command({ type: 'undrain', node: 'none' }) }],
  ['admin', { method: 'POST', path: '/v1/commands', body: command({ type: 'rebalance' }) }],
  ['admin', { method: 'PUT', path: `/v1/blobs/${sha256(blob)}`, body: blob }],
  ['admin', { method: 'POST', path: '/v1/drill', body: '{"cut": []}' }],
];

describe('roles', () => {
  let node: ClusterNode;
  let client: ClusterClient;

  before(async () => {
    writeFileSync(people, `# who may\n\n${peopleLines.join('\n')}\n`);
    const settings = makeSettings('default');
    const places = { name: 'a', store: `file:${folder}/store`, listen: '127.0.0.1:0', settings };
    node = await ClusterNode.start({ ...places, token, people, drills: true, logLevel: 'silent' });
    client = new ClusterClient({ nodes: [node.address], token });
    for (const vmId of ['v', 'w']) {
      await client.command({ type: 'vm-create', vmId, spec: { ...spec, outputs: 'async' }, start: true });
      await client.waitFor(vmId, ['running']);
    }
  });
  after(async () => {
    await client.close();
    await node.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function proofOf(word: string, { method, path, body = '' }: Asked): Promise<string> {
    const answer = await fetch(`http://${node.address}/v1/challenge`);
    const { challenge } = (await answer.json()) as { challenge: string };
    const bodyHash = sha256(Buffer.from(body as string));
    return `${challenge}.${requestProof(word, challenge, { method, path, bodyHash })}`;
  }

  /** Status of the answer, and its code if it is an error. */
  async function ask(word: string, asked: Asked): Promise<{ status: number; code: string; cookie: string }> {
    const body = Buffer.from((asked.body ?? '') as string);
    const response = await fetch(`http://${node.address}${asked.path}`, {
      method: asked.method,
      ...(body.length === 0 ? {} : { body }),
      headers: {
        ...asked.headers,
        'revenant-body': sha256(body),
        ...(word === '' ? {} : { authorization: `Revenant ${await proofOf(word, asked)}` }),
      },
    });
    const [, code = ''] = /"code":"(\w+)"/.exec(await response.text()) ?? [];
    const [cookie = ''] = (response.headers.get('set-cookie') ?? '').split(';');
    return { status: response.status, code, cookie };
  }

  for (const [needed, asked] of routes) {
    const { type = '' } =
      asked.path === '/v1/commands'
        ? (JSON.parse(asked.body as string) as { command: { type: string } }).command
        : {};
    test(`${asked.method} ${asked.path.slice(0, 30)} ${type} takes ${needed}`, async () => {
      for (const role of roles) {
        const may = roles.indexOf(role) >= roles.indexOf(needed);
        const { code } = await ask(tokens[role], asked);
        assert.equal(code === 'UNAUTHORIZED', !may, `${role}: ${code}`);
        // The same for a session of the page, and for a node that asks on behalf of somebody.
        if (asked.path === '/v1/session') continue;
        const { cookie } = await ask(tokens[role], { method: 'POST', path: '/v1/session' });
        const bySession = await ask('', { ...asked, headers: { cookie } });
        assert.equal(bySession.code === 'UNAUTHORIZED', !may, `${role} by session: ${bySession.code}`);
        const headers = { [onBehalfHeader]: `${role} ${names[role]}` };
        const onBehalf = await ask(token, { ...asked, headers });
        assert.equal(onBehalf.code === 'UNAUTHORIZED', !may, `on behalf of ${role}: ${onBehalf.code}`);
      }
      assert.equal((await ask('', asked)).status, 401, 'without a proof');
      assert.equal((await ask('a token of nobody here', asked)).status, 401, 'with another token');
    });
  }

  test('nobody gets more by asking on behalf of others', async () => {
    const asked = { method: 'PUT', path: `/v1/blobs/${sha256(blob)}`, body: blob };
    for (const said of ['admin adam', 'admin', 'root adam', ''])
      assert.equal(
        (await ask(tokens.view, { ...asked, headers: { [onBehalfHeader]: said } })).code,
        'UNAUTHORIZED',
      );
    assert.equal(
      (await ask(token, { ...asked, headers: { [onBehalfHeader]: 'root adam' } })).code,
      'UNAUTHORIZED',
    );
  });

  test("the page of who has the cluster's token may do everything", async () => {
    const { cookie } = await ask(token, { method: 'POST', path: '/v1/session' });
    const socket = new WebSocket(`ws://${node.address}/v1/page`, [pageSubprotocol], { headers: { cookie } });
    const replies: PageReply[] = [];
    socket.on('message', (frame: Buffer) => replies.push(decodePageReply(frame)));
    await until('hello', () => replies.length > 0);
    socket.send(encode({ type: 'command', question: 1, command: { type: 'rebalance' } }));
    await until('an answer', () => replies.some(({ type }) => type === 'done'));
    assert.deepEqual(
      replies.find(({ type }) => type === 'done'),
      { type: 'done', question: 1, error: null },
    );
    socket.terminate();
  });

  test('a console may be looked at by all, and typed at from operate on', async () => {
    for (const role of roles) {
      const path = '/v1/vms/v/console';
      const proof = await proofOf(tokens[role], { method: 'GET', path });
      const socket = new WebSocket(`ws://${node.address}${path}`, [subprotocol, proofSubprotocol + proof]);
      let [output, closed] = [0, 0];
      socket.on('message', () => output++);
      socket.on('close', (code) => (closed = code));
      await until('output', () => output > 1);
      socket.send(encode({ type: 'open', session: role, from: 0 }));
      socket.send(encode({ type: 'input', at: 0, bytes: Buffer.from('x') }));
      if (role === 'view') await until('the console is closed', () => closed === 4400);
      else
        await until('what was typed is noted', async () =>
          (await client.events()).some(
            ({ event, vm, reason }) =>
              event === 'asked' && vm === 'v' && reason === `${names[role]} (${role}): types at the console`,
          ),
        );
      socket.terminate();
    }
  });

  test('a screen may be looked at by all, and used from operate on', async () => {
    for (const role of roles) {
      const path = '/v1/vms/v/display';
      const proof = await proofOf(tokens[role], { method: 'GET', path });
      const socket = new WebSocket(`ws://${node.address}${path}`, [subprotocol, proofSubprotocol + proof]);
      let [frames, closed] = [0, 0];
      socket.on('message', (data: Buffer) => (frames += decodeDisplayReply(data).type === 'frame' ? 1 : 0));
      socket.on('close', (code) => (closed = code));
      await until('the socket', () => socket.readyState === WebSocket.OPEN);
      socket.send(encode({ type: 'look' }));
      await until('a frame', () => frames > 0);
      socket.send(encode({ type: 'open', session: `screen ${role}`, from: 0 }));
      if (role === 'view') await until('the screen is closed', () => closed === 4400);
      else
        await until('that it is used is noted', async () =>
          (await client.events()).some(
            ({ event, vm, reason }) =>
              event === 'asked' && vm === 'v' && reason === `${names[role]} (${role}): uses keys and pointer`,
          ),
        );
      socket.terminate();
    }
  });

  test('a debugger needs the role operate', async () => {
    for (const role of roles) {
      const path = '/v1/vms/v/debug';
      const proof = await proofOf(tokens[role], { method: 'GET', path });
      const socket = new WebSocket(`ws://${node.address}${path}`, [subprotocol, proofSubprotocol + proof]);
      let why = '';
      socket.on('close', (_code, reason) => (why = reason.toString()));
      await until('a refusal', () => why !== '');
      // This guest is none that anybody could debug.
      assert.match(why, role === 'view' ? /needs the role operate/ : /is no machine that can be debugged/);
    }
  });

  test('a page may do what its session may', async () => {
    for (const role of roles) {
      const { cookie } = await ask(tokens[role], { method: 'POST', path: '/v1/session' });
      const socket = new WebSocket(`ws://${node.address}/v1/page`, [pageSubprotocol], {
        headers: { cookie },
      });
      const replies: PageReply[] = [];
      socket.on('message', (frame: Buffer) => replies.push(decodePageReply(frame)));
      await until('hello', () => replies.length > 0);
      const [hello] = replies;
      assert.ok(hello?.type === 'hello');
      assert.deepEqual([hello.role, hello.name], [role, names[role]]);
      const questions: [Role, PageRequest][] = [
        ['operate', { type: 'command', question: 1, command: { type: 'vm-resume', vmId: 'v' } }],
        ['admin', { type: 'command', question: 2, command: { type: 'rebalance' } }],
        ['operate', { type: 'keys', question: 3, vmId: 'v', keys: ['KeyA'] }],
        ['operate', { type: 'power-button', question: 4, vmId: 'v' }],
      ];
      for (const [needed, request] of questions) {
        socket.send(encode(request));
        const answer = (): PageReply | undefined =>
          replies.find(
            (reply) => reply.type === 'done' && 'question' in request && reply.question === request.question,
          );
        await until('an answer', () => answer() !== undefined);
        const done = answer();
        assert.ok(done?.type === 'done');
        assert.equal(
          done.error?.code !== 'UNAUTHORIZED',
          roles.indexOf(role) >= roles.indexOf(needed),
          `${role} ${JSON.stringify(done)}`,
        );
      }
      socket.terminate();
    }
  });

  test('what is asked is noted with who asked and what became of it', async () => {
    await ask(tokens.view, {
      method: 'POST',
      path: '/v1/commands',
      body: command({ type: 'vm-stop', vmId: 'v' }),
    });
    await ask(tokens.operate, {
      method: 'POST',
      path: '/v1/commands',
      body: command({ type: 'vm-pause', vmId: 'v' }),
    });
    const refused = 'vera (view): vm-stop, refused: vm-stop needs the role operate';
    await until('both notes', async () => {
      const noted = (await client.events())
        .filter(({ event, vm }) => event === 'asked' && vm === 'v')
        .map(({ reason }) => reason);
      return noted.includes('olga (operate): vm-pause') && noted.some((line) => line.startsWith(refused));
    });
  });

  test('whoever is taken out of the people file gets in no more, by token or by session', async () => {
    const { cookie } = await ask(tokens.view, { method: 'POST', path: '/v1/session' });
    const status = { method: 'GET', path: '/v1/status' };
    assert.equal((await ask('', { ...status, headers: { cookie } })).status, 200);
    writeFileSync(people, peopleLines.slice(1).join('\n'));
    utimesSync(people, 1, 1);
    await until('the file is read again', async () => (await ask(tokens.view, status)).status === 401);
    assert.equal((await ask('', { ...status, headers: { cookie } })).status, 401);
    assert.equal((await ask(tokens.operate, status)).status, 200);
    // A file that can't be read changes nothing.
    writeFileSync(people, 'olga king token-of-olga-oper');
    utimesSync(people, 2, 2);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.equal((await ask(tokens.operate, status)).status, 200);
  });
});

test('a people file is refused in words, without its tokens', () => {
  for (const [text, why] of [
    ['ann view', 'line 1: not NAME ROLE TOKEN'],
    ['\nann king 0123456789abcdef', 'line 2: there is no role king'],
    ['ann view short-secret', 'line 1: the token of ann has less than 16 characters'],
    [
      'ann view 0123456789abcdef\nann admin 0123456789abcdeg',
      'line 2: ann has the name or the token of somebody above',
    ],
    [
      'ann view 0123456789abcdef\nbob admin 0123456789abcdef',
      'line 2: bob has the name or the token of somebody above',
    ],
    ['../ann view 0123456789abcdef', 'line 1: not NAME ROLE TOKEN'],
  ] as const)
    assert.throws(
      () => parsePeople(text),
      (error) => isClusterError(error, 'BAD_REQUEST') && error.message === why,
    );
  assert.deepEqual(parsePeople('# nobody\n\n'), []);
});
