/** Disk images of a node's folder, offered by name. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSettings } from '../decisions/settings.ts';
import { sha256 } from '../mac.ts';
import { imageChosenSchema, imagesAnswerSchema } from '../protocol/images.ts';
import { check } from '../protocol/schema.ts';
import { hasBlob } from '../stored/blobs.ts';
import { ClusterNode } from './cluster-node.ts';

test('an image of the host is offered by name, and is in the store once it was chosen', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-shelf-'));
  const image = { name: 'small', title: 'a small one', commandLine: 'quiet', memoryMiB: 64 };
  const [kernel, initrd] = [Buffer.from('its kernel'), Buffer.from('its initrd')];
  const node = await ClusterNode.start({
    ...{ name: 'a', store: `file:${folder}/store`, listen: '127.0.0.1:0', logLevel: 'silent' },
    settings: makeSettings('default'),
    images: {
      list: () => Promise.resolve([image]),
      read: (name) => Promise.resolve(name === 'small' ? { kernel, initrd } : undefined),
    },
  });
  try {
    const ask = async (method: string, path: string): Promise<[number, unknown]> => {
      const response = await fetch(`http://${node.address}${path}`, { method });
      return [response.status, await response.json()];
    };
    const [, offered] = await ask('GET', '/v1/images');
    assert.deepEqual(check(imagesAnswerSchema, offered, 'the images').images, [image]);
    const [, answer] = await ask('POST', '/v1/images/small');
    const chosen = check(imageChosenSchema, answer, 'the image');
    assert.deepEqual(chosen, { ...image, kernel: sha256(kernel), initrd: sha256(initrd) });
    assert.ok(await hasBlob(node.store, chosen.kernel));
    assert.ok(await hasBlob(node.store, chosen.initrd));
    assert.deepEqual((await ask('POST', '/v1/images/large'))[0], 404);
  } finally {
    await node.close();
    await rm(folder, { recursive: true, force: true });
  }
});
