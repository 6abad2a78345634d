/**
 * A guest's screen in the page, as whoever knows a viewer of screens uses it: chords that a browser keeps for itself, the pointer, a finger, text as
 * keys, full screen with the whole keyboard, and small live pictures in the list. The guest says each byte that its keyboard and mouse send.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { makeEchoKernel } from './echo-kernel.ts';
import { isDrawn, openVm, PageNodes, pixelsOf, type OpenedPage } from './nodes.ts';

const missing = browserMissing();

/** Keys as the scan codes of set 1, pressed; let go is 80h more. */
const codes = {
  control: ['1d'],
  shift: ['2a'],
  alt: ['38'],
  delete: ['e0', '53'],
  escape: ['01'],
  tab: ['0f'],
  enter: ['1c'],
  w: ['11'],
  h: ['23'],
  i: ['17'],
  f2: ['3c'],
} as const;
type KeyName = keyof typeof codes;

const letGo = (key: KeyName): string[] =>
  codes[key].map((code) => (code === 'e0' ? code : (parseInt(code, 16) | 0x80).toString(16)));
/** All pressed, one after the other, and let go in the other order. */
const chord = (...names: KeyName[]): string[] => [
  ...names.flatMap((key) => codes[key]),
  ...[...names].reverse().flatMap(letGo),
];

describe("a guest's screen in the page", { skip: missing ?? false }, () => {
  let nodes: PageNodes;
  let said = '';
  let endHearing: () => void = () => undefined;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b'] });
    await nodes.makeVm('echo', { kernel: makeEchoKernel() });
    const follower = nodes.client.console('echo', (bytes) => (said += Buffer.from(bytes).toString('latin1')));
    endHearing = () => follower.close();
    await until('the guest listens', () => said.includes('type here'));
  });
  after(async () => {
    endHearing();
    await nodes.close();
  });

  /** What the keyboard sent since the text was so long. */
  const keysSince = (at: number): string[] =>
    [...said.slice(at).matchAll(/k(\w\w) /g)].map(([, code]) => code!);
  /** The movements since then: how far, and the buttons of each. */
  function pointerSince(at: number): { dx: number; dy: number; buttons: number[] } {
    const bytes = [...said.slice(at).matchAll(/m(\w\w) /g)].map(([, byte]) => parseInt(byte!, 16));
    const sum = { dx: 0, dy: 0, buttons: [] as number[] };
    for (let n = 0; n + 2 < bytes.length; n += 3) {
      const [flags = 0, x = 0, y = 0] = bytes.slice(n, n + 3);
      sum.dx += x - ((flags & 0x10) === 0 ? 0 : 256);
      sum.dy += y - ((flags & 0x20) === 0 ? 0 : 256);
      sum.buttons.push(flags & 7);
    }
    return sum;
  }
  async function heardKeys(at: number, expected: readonly string[]): Promise<void> {
    await until(`the guest hears ${expected.join(' ')}`, () => keysSince(at).length >= expected.length);
    assert.deepEqual(keysSince(at), expected);
  }

  async function openScreen(opened: OpenedPage): Promise<{ page: Page; errors: string[]; screen: Locator }> {
    const { page } = opened;
    await openVm(page, 'echo');
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    const screen = page.getByRole('img', { name: 'screen of echo', exact: true });
    await screen.waitFor();
    await until('the picture has come', () => isDrawn(screen));
    return { ...opened, screen };
  }
  async function over({ page, errors }: OpenedPage): Promise<void> {
    await page.context().close();
    assert.deepEqual(errors, []);
  }

  test('chords of the list, and those that are pressed, come to the guest as they are', async () => {
    const { page, errors, screen } = await openScreen(await nodes.visit());
    const list = page.getByRole('combobox', { name: 'send keys to the screen of echo' });
    for (const [name, expected] of [
      ['Ctrl-Alt-Del', chord('control', 'alt', 'delete')],
      ['Alt-Tab', chord('alt', 'tab')],
      ['Ctrl-Alt-F2', chord('control', 'alt', 'f2')],
      ['Ctrl-Esc', chord('control', 'escape')],
    ] as const) {
      const at = said.length;
      await list.selectOption(name);
      await heardKeys(at, expected);
    }
    const at = said.length;
    await page.getByRole('button', { name: 'Ctrl-Alt-Del', exact: true }).click();
    await heardKeys(at, chord('control', 'alt', 'delete'));
    // Ctrl-W would close the tab, and Tab would leave the screen.
    const pressed = said.length;
    await screen.focus();
    await page.keyboard.press('Control+w');
    await page.keyboard.press('Tab');
    await heardKeys(pressed, [...chord('control', 'w'), ...chord('tab')]);
    // A key that is held as the screen is left is let go there.
    const left = said.length;
    await page.keyboard.down('Shift');
    await page.getByRole('button', { name: 'Console', exact: true }).focus();
    await heardKeys(left, chord('shift'));
    await page.keyboard.up('Shift');
    await over({ page, errors });
  });

  test('after a click the pointer is the guest’s, with its buttons, until it is given back', async () => {
    const { page, errors, screen } = await openScreen(await nodes.visit());
    const isLocked = (): Promise<boolean> => page.evaluate(() => document.pointerLockElement !== null);
    const at = said.length;
    await screen.click();
    await until('the pointer is locked', isLocked);
    await page.getByText("The pointer is the guest's").waitFor();
    const box = (await screen.boundingBox())!;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await page.mouse.move(x + 30, y + 20, { steps: 5 });
    await page.mouse.down({ button: 'right' });
    await page.mouse.up({ button: 'right' });
    await until('the guest has heard the right button', () => {
      const { buttons } = pointerSince(at);
      return buttons.includes(2) && buttons.at(-1) === 0;
    });
    const moved = pointerSince(at);
    // A mouse counts upwards.
    assert.deepEqual([moved.dx, moved.dy], [30, -20]);
    await page.evaluate(() => document.exitPointerLock());
    await page.getByText("The pointer is the guest's").waitFor({ state: 'detached' });
    const free = said.length;
    await page.mouse.move(x - 40, y - 40);
    await screen.press('w');
    await heardKeys(free, chord('w'));
    assert.deepEqual(pointerSince(free), { dx: 0, dy: 0, buttons: [] });
    await over({ page, errors });
  });

  test('on a phone a finger moves the pointer, a tap is a click, and a field types', async () => {
    const phone = { viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true };
    const { page, errors, screen } = await openScreen(await nodes.visit('a', phone));
    await screen.scrollIntoViewIfNeeded();
    const at = said.length;
    await screen.tap();
    await until('the guest has heard a click', () => pointerSince(at).buttons.join() === '1,0');
    const box = (await screen.boundingBox())!;
    const touch = await page.context().newCDPSession(page);
    const finger = (type: 'touchStart' | 'touchMove' | 'touchEnd', x = 0, y = 0): Promise<unknown> =>
      touch.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: type === 'touchEnd' ? [] : [{ x: box.x + x, y: box.y + y }],
      });
    const moving = said.length;
    await finger('touchStart', 100, 100);
    for (const way of [5, 15, 25]) await finger('touchMove', 100 + way, 100 - way);
    await finger('touchEnd');
    await until('the guest has heard the movement', () => pointerSince(moving).dx === 25);
    assert.equal(pointerSince(moving).dy, 25);
    assert.ok(pointerSince(moving).buttons.every((buttons) => buttons === 0));
    const typing = said.length;
    await page.getByRole('textbox', { name: 'type a line to the screen of echo' }).fill('Hi');
    await page.keyboard.press('Enter');
    await heardKeys(typing, [...chord('shift', 'h'), ...chord('i'), ...chord('enter')]);
    await over({ page, errors });
  });

  test('what is on the clipboard is typed as keys', async () => {
    const { page, errors } = await openScreen(
      await nodes.visit('a', { permissions: ['clipboard-read', 'clipboard-write'] }),
    );
    const at = said.length;
    await page.evaluate(() => navigator.clipboard.writeText('hI\n'));
    await page.getByRole('button', { name: 'Paste as keys' }).click();
    await heardKeys(at, [...chord('h'), ...chord('shift', 'i'), ...chord('enter')]);
    await page.getByText('3 keys typed').waitFor();
    await over({ page, errors });
  });

  test('full screen has the whole keyboard, Escape too, and the whole window', async () => {
    const opened = await nodes.visit();
    // What the browser keeps from pages unless it is asked, it gives to nobody who is driven: that it was asked is what can be seen.
    await opened.page.evaluate(() => {
      const { keyboard } = navigator as unknown as { keyboard: { lock: () => Promise<void> } };
      const lock = keyboard.lock.bind(keyboard);
      keyboard.lock = async () => {
        await lock();
        document.documentElement.dataset['keyboard'] = 'locked';
      };
    });
    const { page, errors, screen } = await openScreen(opened);
    await page.getByRole('button', { name: 'Full screen' }).click();
    await page.waitForFunction(() => document.documentElement.dataset['keyboard'] === 'locked');
    const [isFull, hasFocus] = await screen.evaluate((canvas) => [
      document.fullscreenElement?.contains(canvas) === true,
      document.activeElement === canvas,
    ]);
    assert.deepEqual([isFull, hasFocus], [true, true]);
    const fills = (): Promise<boolean> =>
      screen.evaluate(
        ({ clientWidth, clientHeight }) => clientWidth === innerWidth || clientHeight === innerHeight,
      );
    // It keeps its shape.
    await until('the picture is as large as the window lets it be', fills);
    const at = said.length;
    await page.keyboard.press('Escape');
    await page.keyboard.press('Alt+Tab');
    await heardKeys(at, [...chord('escape'), ...chord('alt', 'tab')]);
    await page.evaluate(() => document.exitFullscreen());
    await until('it is small again', async () => !(await fills()));
    await over({ page, errors });
  });

  test('the list shows what the guest shows, as it changes', async () => {
    const { page, errors } = await nodes.visit();
    const small = page.getByRole('img', { name: 'what echo shows' });
    await until('the small picture has come', () => isDrawn(small));
    const before = await pixelsOf(small);
    await nodes.client.press('echo', ['KeyW']);
    await until('the small picture has changed', async () => (await pixelsOf(small)) !== before);
    // It is the same picture, whole.
    const shown = await pixelsOf(small);
    await openVm(page, 'echo');
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    const screen = page.getByRole('img', { name: 'screen of echo', exact: true });
    await until('the screen is that of the list', async () => (await pixelsOf(screen)) === shown);
    await over({ page, errors });
  });
});
