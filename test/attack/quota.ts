/**
 * A guest that writes its disk over and over, and may hold less in the store than that takes: it stands still, loses nothing, and goes on when
 * it may hold more.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient, VmSeen } from '@revenant/cluster';
import { openStore, storedBytes, type ObjectStore } from '@revenant/storage';
import { residentMiB } from './floods.ts';
import {
  diskMib,
  makeHost,
  memoryMib,
  moreSteps,
  recoveryMs,
  type Host,
  type HostileFigures,
} from './hostile-host.ts';

const caseName = 'fills its store quota';
const quotaBytes = 24 << 20;
const moreBytes = 4 * 2 ** 30;
/** One checkpoint may pass the quota: all of its disk and memory, and what goes with them. */
const mostBytes = quotaBytes + ((diskMib + memoryMib + 16) << 20);

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + recoveryMs; !(await holds()); await sleep(100))
    if (performance.now() > end) throw new Error(`${caseName}: waited in vain: ${what}`);
}

async function seen(client: ClusterClient): Promise<VmSeen | undefined> {
  return (await client.status()).vms.find(({ id }) => id === 'hostile');
}

/** Its bytes in the store, once they stay the same. */
async function settledBytes(store: ObjectStore): Promise<number> {
  let before = -1;
  let bytes = await storedBytes(store, 'hostile');
  await until('nothing more is stored', async () => {
    [before, bytes] = [bytes, await storedBytes(store, 'hostile')];
    if (before === bytes) await sleep(2500);
    return before === bytes && bytes === (await storedBytes(store, 'hostile'));
  });
  return bytes;
}

async function fillAndRaise(host: Host, store: ObjectStore, kernel: Uint8Array): Promise<number> {
  const { client } = host;
  const description = {
    ...{ memoryBytes: memoryMib << 20, commandLine: '', kernel: await client.putBlob(kernel) },
    disks: [{ name: 'disk0', bytes: diskMib << 20 }],
  };
  const spec = {
    ...{ runtime: 'machine', description, memoryMiB: memoryMib, priority: 1 },
    ...{ outputs: 'checkpoint' as const, storeQuotaBytes: quotaBytes },
  };
  await client.command({ type: 'vm-create', vmId: 'hostile', spec, start: true });
  const isHeld = async (): Promise<boolean> => (await seen(client))?.storeFull === true;
  await until('it is held', isHeld);
  const held = await settledBytes(store);
  if (held < quotaBytes || held > mostBytes) throw new Error(`${caseName}: it holds ${String(held)} bytes`);
  if (!(await isHeld())) throw new Error(`${caseName}: it is not held any more`);
  await client.command({ type: 'vm-set', vmId: 'hostile', storeQuotaBytes: moreBytes });
  await until('it may go on', async () => !(await isHeld()));
  await until('it stores more', async () => (await storedBytes(store, 'hostile')) > held);
  await client.command({ type: 'vm-set', vmId: 'hostile', storeQuotaBytes: quotaBytes });
  await until('it is held again', isHeld);
  // A VM that waits for room can be switched off, and what it wrote lasts.
  await client.command({ type: 'vm-stop', vmId: 'hostile' });
  await client.waitFor('hostile', ['stopped']);
  return held;
}

/** @param folder of its own, made here */
export async function fillQuota(kernel: Uint8Array, folder: string): Promise<HostileFigures> {
  mkdirSync(folder);
  writeFileSync(join(folder, 'log'), '');
  const url = `file:${join(folder, 'store')}`;
  const host = await makeHost(folder, url);
  const { client, node, beside } = host;
  const store = await openStore(url, { create: false });
  const grown = { most: 0, before: residentMiB(node.pid) };
  const watch = setInterval(() => {
    if (!node.ended) grown.most = Math.max(grown.most, residentMiB(node.pid) - grown.before);
  }, 200);
  try {
    await moreSteps(host, caseName);
    const { steps } = beside.state;
    const bytes = await fillAndRaise(host, store, kernel);
    await moreSteps(host, caseName);
    const leasesLost = (await client.events()).filter(({ event }) => event === 'lease-lost').length;
    return {
      ...{ name: caseName, bytes, steps: beside.state.steps - steps, leasesLost, slowestMs: 0 },
      ...{ grownMiB: grown.most, state: `held at ${(bytes / 2 ** 20).toFixed(0)} MiB` },
    };
  } finally {
    clearInterval(watch);
    await store.close();
    await host.close();
  }
}
