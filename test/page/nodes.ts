/**
 * What tests of the page begin and end with: a cluster of real node processes in a folder of its own, and Debian's Chromium. `open` resolves
 * when each node sees all others alive, so that nothing a person does is refused for what a node has not heard yet.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { ClusterClient, NodeProcess, type DiskSpec, type OutputPolicy } from '@revenant/cluster';
import { makeBuiltinKernel } from '../../images/builtin/kernel.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { openBrowser } from './browser.ts';

/** A loaded machine needs longer; nothing waits for it. */
const patienceMs = 180_000;
export const token = 'a token for this test only';

export interface PageNodesOptions {
  names: readonly string[];
  /** They are asked for the cluster's token. */
  withToken?: boolean;
  /** Role and token by name of the person. */
  people?: Readonly<Record<string, readonly [role: string, token: string]>>;
  /** Addresses of their hosts, by name; default: loopback. Others want a token. */
  hosts?: Readonly<Record<string, string>>;
  /** Program of the nodes, where it is not the usual one. */
  main?: string;
}

/** A page that is open, and the errors of its scripts so far. */
export interface OpenedPage {
  page: Page;
  errors: string[];
}

export class PageNodes {
  readonly folder: string;
  readonly client: ClusterClient;
  readonly #nodes: Map<string, NodeProcess>;
  #browser: Browser | undefined;

  private constructor(folder: string, nodes: Map<string, NodeProcess>, client: ClusterClient) {
    this.folder = folder;
    this.#nodes = nodes;
    this.client = client;
  }

  static async open({
    names,
    withToken = false,
    people = {},
    hosts = {},
    main,
  }: PageNodesOptions): Promise<PageNodes> {
    const folder = await mkdtemp(join(tmpdir(), 'revenant-page-'));
    const [tokenFile, peopleFile] = [join(folder, 'token'), join(folder, 'people')];
    await writeFile(tokenFile, token);
    const lines = Object.entries(people).map(([name, [role, word]]) => `${name} ${role} ${word}\n`);
    await writeFile(peopleFile, lines.join(''));
    const nodes = new Map<string, NodeProcess>();
    for (const name of names) {
      const started = await NodeProcess.start({
        ...{ name, store: `file:${folder}/store`, profile: 'default', logFile: join(folder, `${name}.log`) },
        ...(withToken ? { tokenFile } : {}),
        ...(hosts[name] === undefined ? {} : { listen: `${hosts[name]}:0` }),
        ...(lines.length === 0 ? {} : { words: ['--people-file', peopleFile] }),
        ...(main === undefined ? {} : { main }),
      });
      nodes.set(name, started);
    }
    const addresses = [...nodes.values()].map(({ address }) => address);
    const known = withToken ? { token } : {};
    for (const address of addresses) await untilAlive({ nodes: [address], ...known }, names.length);
    return new PageNodes(folder, nodes, new ClusterClient({ nodes: addresses, ...known }));
  }

  async close(): Promise<void> {
    await this.#browser?.close();
    await this.client.close();
    for (const node of this.#nodes.values()) node.kill();
    await Promise.all([...this.#nodes.values()].map(({ whenEnded }) => whenEnded));
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Those that live, in the order in which they were started. */
  get names(): string[] {
    return [...this.#nodes].flatMap(([name, { ended }]) => (ended ? [] : [name]));
  }

  addressOf(name: string): string {
    return this.#nodes.get(name)!.address;
  }

  /** Ends a node as a failing host would. */
  async kill(name: string): Promise<void> {
    const node = this.#nodes.get(name)!;
    node.kill();
    await node.whenEnded;
  }

  async browser(): Promise<Browser> {
    this.#browser ??= await openBrowser();
    return this.#browser;
  }

  /** A page of its own session, at a node; by default the first that lives. */
  async visit(node = this.names[0]!, look: BrowserContextOptions = {}): Promise<OpenedPage> {
    const context = await (await this.browser()).newContext(look);
    const page = await context.newPage();
    page.setDefaultTimeout(patienceMs);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`http://${this.addressOf(node)}/`);
    return { page, errors };
  }

  /** The same, logged in. */
  async logIn(word = token, node = this.names[0]!): Promise<OpenedPage> {
    const opened = await this.visit(node);
    await giveToken(opened.page, word);
    await opened.page.getByRole('heading', { name: 'Virtual machines' }).waitFor();
    return opened;
  }

  /** Makes a VM of the built-in guest, or of another kernel, which runs when this resolves. */
  async makeVm(
    vmId: string,
    { kernel = makeBuiltinKernel(), outputs = 'async', memoryMiB = 16, disks }: VmOptions = {},
  ): Promise<void> {
    const description = {
      memoryBytes: memoryMiB << 20,
      kernel: await this.client.putBlob(kernel),
      commandLine: '',
      ...(disks === undefined ? {} : { disks }),
    };
    const spec = { runtime: 'machine', description, memoryMiB, priority: 1, outputs };
    await this.client.command({ type: 'vm-create', vmId, spec, start: true });
    await this.client.waitFor(vmId, ['running']);
  }
}

export interface VmOptions {
  kernel?: Uint8Array;
  outputs?: OutputPolicy;
  memoryMiB?: number;
  disks?: DiskSpec[];
}

async function untilAlive(one: { nodes: string[]; token?: string }, count: number): Promise<void> {
  const client = new ClusterClient(one);
  await until(`${one.nodes.join()} sees ${String(count)} nodes alive`, async () => {
    const { nodes = [] } = (await client.status().catch(() => undefined)) ?? {};
    return nodes.length === count && nodes.every(({ state }) => state === 'alive');
  });
  await client.close();
}

/** Opens a VM in the page, from the list. */
export const openVm = (page: Page, vmId: string): Promise<void> =>
  page.getByRole('table').getByRole('button', { name: vmId, exact: true }).click();

export async function giveToken(page: Page, word = token): Promise<void> {
  await page.getByLabel('Token of the cluster').fill(word);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** Whether anything is drawn: not every pixel is black. */
export const isDrawn = (canvas: Locator): Promise<boolean> =>
  canvas.evaluate((element) => {
    const { width, height } = element as HTMLCanvasElement;
    const { data } = (element as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height);
    return data.some((value, n) => n % 4 !== 3 && value > 0);
  });

/** The canvas as one text. */
export const pixelsOf = (canvas: Locator): Promise<string> =>
  canvas.evaluate((element) => (element as HTMLCanvasElement).toDataURL());

/**
 * What a terminal shows of its guest. Lines of ours between the guest's ("[4 bytes … were sent again]") come wherever a loaded cluster
 * has something to say, also in the middle of an echo: they are taken out.
 */
export async function guestText(page: Page): Promise<string> {
  const shown = await page.locator('.xterm-accessibility-tree').innerText();
  return shown.replace(/\s*\[[^\]\n]*\]\s*/g, '');
}

/** Waits until the terminal shows a text, however its lines are broken, or what an expression matches. */
export async function terminalShows(page: Page, wanted: string | RegExp): Promise<string> {
  let shown = '';
  const solid = (text: string): string => text.replace(/\s+/g, '');
  await until(`the terminal shows ${String(wanted)}`, async () => {
    shown = await guestText(page);
    return typeof wanted === 'string' ? solid(shown).includes(solid(wanted)) : wanted.test(shown);
  });
  return shown;
}

/** Types a line into the terminal and waits until its guest has echoed it. */
export async function typeLine(page: Page, line: string): Promise<void> {
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type(`${line}\n`);
  await terminalShows(page, line);
}
