/**
 * What the command line does, the page does: each of its verbs is named here with where the page has it, or with the reason why it has it
 * not; and the page is asked for each of them. A verb that is new in the command line fails here until it is told.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { commands } from '../../packages/cli/src/commands/index.ts';
import type { Group } from '../../packages/cli/src/command/command.ts';
import { browserMissing } from './browser.ts';
import { openVm, PageNodes } from './nodes.ts';

type Role = Parameters<Page['getByRole']>[0];
/** The cluster's view, the form for a new VM, the view of a VM, its screen, a moment of its past. */
const views = ['cluster', 'create', 'vm', 'screen', 'moment'] as const;
type Shown = [view: (typeof views)[number], role: Role, name: string | RegExp];
type Verb = Shown | { why: string };

const because = (why: string): Verb => ({ why });
const ofHost = because(
  "it starts a program on a host, or reads files of one: a page's node does neither for others",
);
const ofTerminal = because('it speaks to a program of the host that asks: a debugger, a viewer, a shell');
const ofStore = because('it puts a store right while no node may serve it');

const ofBackups = because('it opens a second store, of which no node of the cluster knows');

/** By its words. */
const verbs: Readonly<Record<string, Verb>> = {
  run: ['cluster', 'link', 'Run a guest in this tab'],
  'images list': ['create', 'combobox', 'Guest'],
  'images fetch': ofHost,
  'images path': ofHost,
  'images import': ofHost,
  node: ofHost,
  'vm create': ['cluster', 'button', 'Create'],
  'vm list': ['cluster', 'group', 'list of virtual machines'],
  'vm show': ['cluster', 'button', 'web'],
  'vm start': ['cluster', 'button', 'Start off'],
  'vm standby': ['cluster', 'columnheader', 'Standby'],
  'vm stop': ['vm', 'button', 'Stop web'],
  'vm wait': because('it is for scripts; the page shows the state as it changes'),
  'vm pause': ['vm', 'button', 'Pause web'],
  'vm resume': ['cluster', 'button', 'Go on held'],
  'vm fork': ['vm', 'button', 'Fork the newest checkpoint of web'],
  'vm snapshot': ['vm', 'form', 'take a snapshot of web'],
  'vm snapshots': ['vm', 'region', 'snapshots of web'],
  'vm revert': ['vm', 'button', 'Revert web to kept'],
  'vm backup': ofBackups,
  'vm restore': ofBackups,
  'vm set': ['vm', 'form', 'settings of web'],
  'vm migrate': ['vm', 'button', 'Migrate web'],
  'vm exec': ofTerminal,
  'vm copy': ofHost,
  'vm console': ['vm', 'button', 'Console'],
  'vm send-key': ['screen', 'combobox', 'send keys to the screen of web'],
  'vm vnc': ofTerminal,
  'vm debug': ofTerminal,
  'vm screenshot': ['screen', 'img', 'screen of web'],
  'vm insert': ['vm', 'combobox', 'Insert into the CD drive of web'],
  'vm eject': ['vm', 'button', 'Eject the CD drive of web'],
  'vm disk list': because(
    'the page shows which disks a VM has where it changes them; sizes and bases are for scripts',
  ),
  'vm disk export': ofHost,
  'vm events': ['vm', 'region', 'events of web'],
  'vm delete': ['vm', 'button', 'Delete web'],
  'network create': ['cluster', 'form', 'create a network'],
  'network list': ['cluster', 'group', 'list of networks'],
  'network delete': ['cluster', 'button', 'Delete network lan'],
  'checkpoint list': ['vm', 'region', 'checkpoints of web'],
  'checkpoint show': ['moment', 'heading', /^Moment \d+-\d+/],
  'checkpoint registers': ['moment', 'button', 'Registers'],
  'checkpoint memory': ['moment', 'button', 'Memory'],
  'checkpoint disassemble': ['moment', 'button', 'Code'],
  'checkpoint linux': ['moment', 'button', 'Processes'],
  'checkpoint screen': ['moment', 'img', /^screen of web at/],
  'checkpoint pages': ['moment', 'button', 'Changes'],
  'checkpoint diff': ['moment', 'button', 'Changes'],
  'checkpoint console': because(
    'what was said before one looked is in the terminal; of older moments it is for scripts',
  ),
  'checkpoint search': because('it reads all pages of a checkpoint: a matter of the host that has the store'),
  'checkpoint verify': ofStore,
  'checkpoint gc': ofStore,
  'checkpoint export': ofHost,
  'checkpoint import': ofHost,
  'cluster status': ['cluster', 'list', 'nodes'],
  'cluster nodes': ['cluster', 'list', 'nodes'],
  'cluster events': ['cluster', 'region', 'events'],
  'cluster drain': ['cluster', 'button', 'Drain a'],
  'cluster undrain': ['cluster', 'button', 'Undrain b'],
  'cluster rebalance': ['cluster', 'button', 'Rebalance'],
  'cluster disarm': ['cluster', 'form', 'disarm failover'],
  'cluster arm': because(
    'its button takes the place of the form while failover is disarmed (managing.test.ts)',
  ),
  'cluster remove': ['cluster', 'button', 'Remove node c'],
  'store init': ofStore,
  'store release': ofStore,
  'store show': ofStore,
  replay: ['vm', 'slider', 'moment of web'],
  'debug gdb': ofTerminal,
  mcp: ofTerminal,
  'debug hot': ofHost,
  'debug trace': ofHost,
  page: because('it is the page that needs no cluster'),
  open: ['vm', 'link', 'Open its newest checkpoint in a tab'],
  demo: ofHost,
  completion: ofTerminal,
};

function verbsOf(group: Group, before: readonly string[] = []): string[] {
  return Object.entries(group.commands).flatMap(([word, below]) =>
    'commands' in below ? verbsOf(below, [...before, word]) : [[...before, word].join(' ')],
  );
}

test('each verb of the command line is told of, and no other', () => {
  assert.deepEqual(Object.keys(verbs).sort(), verbsOf(commands).sort());
});

describe('the verbs in the page', { skip: browserMissing() ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b', 'c'] });
    const { client } = nodes;
    const spec = { subnet: '10.64.0.0/16', guard: false, outbound: true, hostPorts: [] };
    await client.command({ type: 'network-create', network: 'lan', spec });
    const disks = [{ name: 'disk0', bytes: 2048, readOnly: true, attach: 'cdrom' as const }];
    for (const vmId of ['web', 'off', 'held']) await nodes.makeVm(vmId, { disks });
    await client.takeSnapshot('web', 'kept');
    await client.command({ type: 'vm-stop', vmId: 'off' });
    await client.command({ type: 'vm-pause', vmId: 'held' });
    await client.command({ type: 'drain', node: 'b' });
    await nodes.kill('c');
  });
  after(() => nodes.close());

  /** From one view to the next, in their order. */
  const go: Readonly<Record<(typeof views)[number], (page: Page) => Promise<void>>> = {
    cluster: (page) => page.getByRole('heading', { name: 'Virtual machines' }).waitFor(),
    create: (page) => page.getByRole('button', { name: 'Create', exact: true }).click(),
    vm: (page) => openVm(page, 'web'),
    screen: (page) => page.getByRole('button', { name: 'Screen', exact: true }).click(),
    moment: (page) => page.getByRole('slider', { name: 'moment of web' }).press('End'),
  };

  test('each is where the table says', async () => {
    const { page, errors } = await nodes.visit('a');
    for (const view of views) {
      await go[view](page);
      for (const [verb, shown] of Object.entries(verbs)) {
        if (!Array.isArray(shown) || shown[0] !== view) continue;
        const [, role, name] = shown;
        const found = page.getByRole(role, { name, exact: typeof name === 'string' }).first();
        await found.waitFor({ state: 'attached' }).catch((cause: unknown) => {
          throw new Error(`${verb}: there is no ${role} ${String(name)} in the view ${view}`, { cause });
        });
      }
    }
    await page.context().close();
    assert.deepEqual(errors, []);
  });
});
