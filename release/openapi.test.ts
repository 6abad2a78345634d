/** The API's description: valid, as the repository has it, complete, and true of a node. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { ClusterNode, makeSettings } from '@revenant/cluster';
import { openApi } from '../packages/cluster/src/node/openapi.ts';
import { operations } from '../packages/cluster/src/node/operations.ts';
import { openApiText } from './openapi.ts';

const read = (path: string): Promise<string> => readFile(new URL(path, import.meta.url), 'utf8');

test("the description is valid, and the documents' copy is that of the code", async () => {
  const { valid, errors } = await new Validator().validate(
    JSON.parse(JSON.stringify(openApi())) as Record<string, unknown>,
  );
  assert.ok(valid, JSON.stringify(errors));
  const isCurrent = (await read('../docs/openapi.json')) === (await openApiText());
  assert.ok(isCurrent, 'docs/openapi.json is not what the code says: run `node release/openapi.ts`');
  const broken = await new Validator().validate({ ...openApi(), paths: { 'no-slash': {} } });
  assert.equal(broken.valid, false, 'the validator bites');
});

test('whatever the protocol documents is described', async () => {
  const names: [string, string][] = [
    ['ID', 'vm'],
    ['WHICH', 'checkpoint'],
    ['JOB', 'job'],
    ['SHA256', 'sha256'],
  ];
  const documented = [
    ...(await read('../docs/CLUSTER_PROTOCOL.md')).matchAll(
      /`(GET|POST|PUT|DELETE) (\/v1\/[^`? …]+)(?=[`? ])/g,
    ),
  ];
  assert.ok(documented.length > 20);
  for (const [, method, path = ''] of documented) {
    let template = path
      .replace('/images/NAME', '/images/{image}')
      .replace('/snapshots/NAME', '/snapshots/{snapshot}');
    for (const [word, name] of names) template = template.replace(word, `{${name}}`);
    const parts = /^(.*)\{([\w,]+,\w+)\}$/.exec(template);
    const each = parts === null ? [template] : parts[2]!.split(',').map((part) => `${parts[1]!}${part}`);
    for (const one of each)
      assert.ok(
        operations.some((known) => known.method === method && known.path === one),
        `${method!} ${one}`,
      );
  }
});

test('a node has each operation, and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-openapi-'));
  const settings = makeSettings('default');
  const where = { name: 'a', store: `file:${folder}`, listen: '127.0.0.1:0' };
  const node = await ClusterNode.start({ ...where, settings, logLevel: 'silent', memoryMiB: 64 });
  try {
    const ask = async (method: string, path: string): Promise<{ status: number; text: string }> => {
      const answer = await fetch(`http://${node.address}${path}`, { method });
      return { status: answer.status, text: await answer.text() };
    };
    const told = await ask('GET', '/v1/openapi.json');
    assert.deepEqual(JSON.parse(told.text), JSON.parse(JSON.stringify(openApi())));
    for (const { method, path, answers } of operations) {
      if (answers === 'socket') continue;
      const filled = path
        .replace('{sha256}', 'a'.repeat(64))
        .replace('{checkpoint}', '1-1')
        .replaceAll(/\{\w+\}/g, 'x');
      const { status, text } = await ask(method, filled);
      assert.doesNotMatch(text, /there is no (GET|POST|PUT|DELETE) /, `${method} ${filled}`);
      assert.ok(status !== 500 && status !== 405, `${method} ${filled}: ${text}`);
    }
    const { status, text } = await ask('GET', '/v1/nothing');
    assert.deepEqual([status, /there is no GET \/v1\/nothing/.test(text)], [404, true]);
  } finally {
    await node.close();
    await rm(folder, { recursive: true, force: true });
  }
});
