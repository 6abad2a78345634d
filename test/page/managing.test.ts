/**
 * What a person manages in the page besides VMs themselves: networks, a VM with discs and a published port of its own, the discs in its drive,
 * its snapshots, and a node that is over.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { openCheckpoint, openStore } from '@revenant/storage';
import { disksOf } from '@revenant/cluster/disks';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { openVm, PageNodes, terminalShows } from './nodes.ts';

const missing = browserMissing();
const sectorBytes = 2048;
/** Of the four on the two IDE channels. */
const cdDrive = 2;
/** What two discs hold: so many sectors of one byte, and the beginning of another. */
const disc = (name: string, fill: number): { name: string; mimeType: string; buffer: Buffer } => ({
  name,
  mimeType: 'application/octet-stream',
  buffer: Buffer.alloc(3 * sectorBytes - 100, fill),
});

describe('managing a cluster at its page', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b', 'c'] });
  });
  after(() => nodes.close());

  async function opened(vmId?: string): Promise<{ page: Page; errors: string[] }> {
    const visit = await nodes.visit();
    await visit.page.getByRole('heading', { name: 'Virtual machines' }).waitFor();
    if (vmId !== undefined) await openVm(visit.page, vmId);
    return visit;
  }

  async function over({ page, errors }: { page: Page; errors: string[] }): Promise<void> {
    await page.context().close();
    assert.deepEqual(errors, []);
  }

  const networks = (page: Page): Locator => page.getByRole('region', { name: 'networks' });

  async function makeNetwork(page: Page, name: string, fill: Record<string, string> = {}): Promise<void> {
    const form = page.getByRole('form', { name: 'create a network' });
    await form.getByLabel("Network's name").fill(name);
    for (const [label, value] of Object.entries(fill)) await form.getByLabel(label).fill(value);
    await form.getByRole('button', { name: 'Create network' }).click();
    await networks(page).getByRole('row').filter({ hasText: name }).waitFor();
  }

  test('networks are made, listed and deleted; one that can not be is refused in words', async () => {
    const visit = await opened();
    const { page } = visit;
    await makeNetwork(page, 'lan', { 'Open ports of the host': '8000, 5432' });
    await makeNetwork(page, 'lab', { Subnet: '192.168.7.0/24' });
    const { networks: made } = await nodes.client.status();
    assert.deepEqual(made['lan'], {
      subnet: '10.64.0.0/16',
      guard: false,
      outbound: true,
      hostPorts: [8000, 5432],
    });
    assert.equal(made['lab']?.subnet, '192.168.7.0/24');
    const form = page.getByRole('form', { name: 'create a network' });
    await form.getByLabel("Network's name").fill('bad');
    await form.getByLabel('Subnet').fill('10.0.0.0/30');
    await form.getByRole('button', { name: 'Create network' }).click();
    await form.getByRole('alert').waitFor();
    await networks(page).getByRole('button', { name: 'Delete network lab' }).click();
    await networks(page).getByRole('button', { name: 'Really delete network lab' }).click();
    await networks(page)
      .getByRole('row')
      .filter({ hasText: '192.168.7.0/24' })
      .waitFor({ state: 'detached' });
    await over(visit);
  });

  test('a VM is made with two discs of its own, in a network, with a port; its discs are changed', async () => {
    const visit = await opened();
    const { page } = visit;
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const form = page.getByRole('form', { name: 'create a VM' });
    await form.getByLabel('Name', { exact: true }).fill('web');
    const discs = [disc('first.iso', 1), disc('second.iso', 2)];
    await form.getByLabel('Discs for the CD drive').setInputFiles(discs);
    await form.getByLabel('Empty disk in MiB').fill('8');
    await form.getByLabel('Processors', { exact: true }).fill('2');
    await form.getByLabel('Their model').selectOption('x86-64-v3');
    await form.getByLabel('Only on these nodes').fill('a, b');
    await form.getByLabel('On one node with others of the group', { exact: true }).fill('shop');
    await form.getByLabel('Ports of the nodes').fill('8080');
    await form.getByRole('combobox', { name: 'Network' }).selectOption('lan');
    await form.getByRole('button', { name: 'Create and start' }).click();
    await form.getByRole('alert').filter({ hasText: "'8080' is not [NODE:]PORT:GUESTPORT" }).waitFor();
    // A port that is free on this host just now, and in no range that it gives to others.
    await form.getByLabel('Ports of the nodes').fill('18080:80, b:18053:53/udp');
    await form.getByRole('button', { name: 'Create and start' }).click();
    await networks(page).getByText('(ports 18080:80, b:18053:53/udp)').waitFor();
    await openVm(page, 'web');
    await terminalShows(page, /step \d+ [0-9a-f]{16}/);

    const { spec } = await nodes.client.vm('web');
    const { cpu, cpuCount } = spec.description as Record<string, unknown>;
    assert.deepEqual([cpu, cpuCount, spec.nodes, spec.affinity], ['x86-64-v3', 2, ['a', 'b'], 'shop']);
    const described = disksOf(spec.description);
    const contents = discs.map(({ buffer }) =>
      createHash('sha256')
        .update(Buffer.concat([buffer, Buffer.alloc(100)]))
        .digest('hex'),
    );
    assert.deepEqual(
      described.map(({ name, bytes, title, attach, base }) => [name, bytes, title, attach, base?.sha256]),
      [
        ['disk0', 3 * sectorBytes, 'first.iso', 'cdrom', contents[0]],
        ['disk1', 3 * sectorBytes, 'second.iso', 'cdrom', contents[1]],
        ['disk2', 8 << 20, undefined, undefined, undefined],
      ],
    );
    assert.equal(await mediumIn(), 0);
    const drive = page.getByRole('combobox', { name: 'Insert into the CD drive of web' });
    await drive.selectOption('second.iso');
    await until('the second disc is in the drive', async () => (await mediumIn()) === 1);
    await page.getByRole('button', { name: 'Eject the CD drive of web' }).click();
    await until('the drive is empty', async () => (await mediumIn()) === null);
    assert.equal(
      await page.getByRole('region', { name: 'what web is and can do' }).getByRole('alert').count(),
      0,
    );
    await over(visit);
  });

  /** Which of its media is in the CD drive by the VM's newest checkpoint; null: none. */
  async function mediumIn(): Promise<unknown> {
    const store = await openStore(`file:${nodes.folder}/store`, { create: false });
    try {
      const { state } = await openCheckpoint(store, 'web');
      const drives: unknown[] = [];
      const look = (value: unknown): void => {
        if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
        if ('medium' in value && 'cd' in value) drives.push(value.medium);
        for (const each of Object.values(value)) look(each);
      };
      look(state.devices);
      return drives[cdDrive];
    } finally {
      await store.close();
    }
  }

  test('a snapshot is taken, gone back to, forked and given up', async () => {
    const visit = await opened('web');
    const { page } = visit;
    const region = page.getByRole('region', { name: 'snapshots of web' });
    const form = region.getByRole('form', { name: 'take a snapshot of web' });
    for (const name of ['first', 'second']) {
      await form.getByLabel('What it is now').fill(name);
      await form.getByRole('button', { name: 'Take' }).click();
      await region.getByRole('button', { name: `Revert web to ${name}` }).waitFor();
    }
    const { boot } = await nodes.client.vm('web');
    await region.getByRole('button', { name: 'Revert web to first' }).click();
    await region.getByRole('button', { name: 'Really revert web to first' }).click();
    await region
      .getByRole('listitem')
      .filter({ hasText: /^first.*where it was last/ })
      .first()
      .waitFor();
    await until('web runs again', async () => {
      const vm = await nodes.client.vm('web');
      return vm.status === 'running' && vm.boot > boot;
    });
    await region.getByRole('button', { name: 'Fork web at second' }).click();
    await region
      .getByRole('form', { name: 'fork web at second' })
      .getByRole('button', { name: 'Fork', exact: true })
      .click();
    await region.getByText(/fork web-fork \(\w+\), of second/).waitFor();
    await region.getByRole('button', { name: 'Delete snapshot second of web' }).click();
    await region.getByRole('button', { name: 'Really delete snapshot second of web' }).click();
    await region.getByRole('button', { name: 'Revert web to second' }).waitFor({ state: 'detached' });
    assert.deepEqual(
      (await nodes.client.snapshots('web')).map(({ name }) => name),
      ['first'],
    );
    await over(visit);
  });

  test('how much it may hold in the store, and where it may run, is changed while it runs', async () => {
    const visit = await opened('web');
    const made = visit.page.getByRole('region', { name: 'what web is made of' });
    await made.getByText('2 (x86-64-v3)').waitFor();
    await made.getByText('second.iso: 6.0 KiB cdrom read-only').waitFor();
    const form = visit.page.getByRole('form', { name: 'settings of web' });
    await form.getByLabel('In the store at most').fill('4096');
    await form.getByLabel('Only on these nodes').fill('');
    await form.getByLabel('Rather on one of these').fill('b');
    await form.getByLabel('Never on one node').fill('apart');
    await form.getByRole('button', { name: 'Change' }).click();
    await until('the quota is in the list', async () => {
      const { spec } = await nodes.client.vm('web');
      return spec.storeQuotaBytes === 4 * 2 ** 30;
    });
    const { nodes: only, prefers, affinity, antiAffinity } = (await nodes.client.vm('web')).spec;
    assert.deepEqual([only, prefers, affinity, antiAffinity], [undefined, ['b'], 'shop', 'apart']);
    await over(visit);
  });

  test('failover is disarmed and armed, and nodes are told whether they even themselves out', async () => {
    const visit = await opened();
    const { page } = visit;
    const form = page.getByRole('form', { name: 'disarm failover' });
    await form.getByLabel('What for').fill('new switch');
    await form.getByRole('button', { name: 'Disarm failover' }).click();
    await page
      .getByRole('status', { name: 'failover' })
      .filter({ hasText: 'disarmed: new switch' })
      .waitFor();
    await until('the list says so', async () => (await nodes.client.status()).disarmed === 'new switch');
    await page.getByRole('button', { name: 'Arm failover' }).click();
    await form.waitFor();
    assert.equal((await nodes.client.status()).disarmed, undefined);
    // What the page shows comes a moment after the list says it: a click would ask for the same again.
    const even = (checked: boolean) =>
      page.getByRole('checkbox', { name: /^Crowded nodes give VMs/, checked, disabled: false });
    await even(true).click();
    await until('the list says so', async () => (await nodes.client.status()).balancing === 'off');
    await even(false).click();
    await until('the list says so', async () => (await nodes.client.status()).balancing === undefined);
    await over(visit);
  });

  test('a node that is over is shown no longer once it was removed', async () => {
    await nodes.kill('c');
    const visit = await opened();
    const { page } = visit;
    const card = page.getByLabel('node c', { exact: true });
    await card.filter({ hasText: 'dead' }).waitFor();
    await card.getByRole('button', { name: 'Remove node c' }).click();
    await card.getByRole('button', { name: 'Really remove node c' }).click();
    await card.waitFor({ state: 'detached' });
    await over(visit);
  });
});
