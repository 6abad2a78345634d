/**
 * Each timer of a node has an owner: what its callback throws would otherwise be thrown where nobody catches, and end the node with all its VMs.
 * Such a callback is `owned(…)`, or does nothing that could fail: it resolves or rejects a promise, or ends a connection.
 */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const timers = new Set(['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']);
/** Callbacks by name: those of promises, and of who waits. */
const harmlessNames = new Set(['resolve', 'reject', 'wake', 'done', 'end', 'this.#wake']);
const harmlessCalls =
  /^(resolve|reject)\(.*\)$|^undefined$|^[\w.]*[sS]ocket\.(terminate|destroy|resetAndDestroy)\(\)$/s;

function isHarmless(callback: ts.Expression | undefined): boolean {
  if (callback === undefined) return false;
  const text = callback.getText();
  if (harmlessNames.has(text)) return true;
  // A name that this file gives to something owned.
  if (
    new RegExp(`(?:const|readonly) ${text.replace('this.', '')} = owned\\(`).test(
      callback.getSourceFile().text,
    )
  )
    return true;
  if (ts.isCallExpression(callback)) return callback.expression.getText() === 'owned';
  return ts.isArrowFunction(callback) && harmlessCalls.test(callback.body.getText());
}

/** Calls of timers in a source whose failure nobody would catch, as `line: text`, and how many there are in all. */
function timersOf(path: string, text: string): { all: number; ownerless: string[] } {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  // Those of node:timers/promises have other arguments, and no callback.
  const promised = /import \{[^}]*\bsetTimeout\b(?! as)[^}]*\} from 'node:timers\/promises'/.test(text);
  const found = { all: 0, ownerless: [] as string[] };
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && timers.has(node.expression.getText()) && !promised) {
      found.all++;
      const { line } = file.getLineAndCharacterOfPosition(node.getStart());
      if (!isHarmless(node.arguments[0]))
        found.ownerless.push(`${path}:${String(line + 1)}: ${node.getText().split('\n')[0] ?? ''}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test('each timer of a node has an owner', async () => {
  let all = 0;
  const ownerless = [];
  for await (const path of glob('packages/cluster/src/**/*.ts', { cwd: root })) {
    // Demos and the ends of consoles are no part of a node.
    if (/\.test\.ts$|\/testing\/|\/demo\/|-ends\.ts$/.test(path)) continue;
    const found = timersOf(path, await readFile(`${root}/${path}`, 'utf8'));
    all += found.all;
    ownerless.push(...found.ownerless);
  }
  assert.ok(all >= 20, 'the timers are found');
  assert.deepEqual(ownerless, []);
});

test('a timer without owner is found', () => {
  const ownerless = (text: string): number => timersOf('x.ts', text).ownerless.length;
  for (const text of [
    'setInterval(() => this.#tick(), 100);',
    'setTimeout(() => void this.#look(), 100);',
    'setImmediate(() => { flush(); });',
    'setTimeout(work, 5);',
  ])
    assert.equal(ownerless(text), 1, text);
  for (const text of [
    'setTimeout(resolve, 5);',
    "setTimeout(() => reject(new Error('late')), 5);",
    'setTimeout(() => socket.terminate(), 5);',
    'setInterval(owned(() => this.#tick(), failed), 100);',
    'const look = owned(() => see(), failed);\nsetInterval(look, 100);',
  ])
    assert.equal(ownerless(text), 0, text);
});
