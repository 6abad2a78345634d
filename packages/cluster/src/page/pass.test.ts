import { test } from 'node:test';
import assert from 'node:assert/strict';
import { makePass, passCookie, passOf, roleOfPass } from './pass.ts';

const token = 'a token of the cluster';
const now = 1_800_000_000_000;

test('a pass says its role on every node with the token, until it is over', () => {
  for (const role of ['view', 'operate', 'admin'] as const) {
    const pass = makePass(token, role, now);
    assert.equal(roleOfPass(token, pass, now), role);
    assert.equal(roleOfPass('another token', pass, now), undefined);
    assert.equal(roleOfPass(token, pass, now + 9 * 3600_000), undefined);
  }
});

test('a pass that was changed is none, wherever it was changed', () => {
  const pass = makePass(token, 'view', now);
  assert.equal(roleOfPass(token, pass.replace('view', 'admin'), now), undefined);
  for (let at = 0; at < pass.length; at++) {
    const changed = `${pass.slice(0, at)}${pass[at] === '0' ? '1' : '0'}${pass.slice(at + 1)}`;
    assert.equal(roleOfPass(token, changed, now), undefined);
  }
  for (const none of ['', '.', '..', 'admin', `admin.${String(now * 2)}`, `constructor.${String(now * 2)}.`])
    assert.equal(roleOfPass(token, none, now), undefined);
});

test('a pass is found in the cookie or among the subprotocols', () => {
  const pass = makePass(token, 'operate', now);
  const [cookie] = passCookie(pass).split(';');
  assert.equal(passOf({ cookie: `other=1; ${cookie!}` }), pass);
  assert.equal(passOf({ subprotocols: `revenant-page, revenant-pass.${pass}` }), pass);
  assert.equal(passOf({ cookie: passCookie(undefined).split(';')[0] }), undefined);
  assert.match(passCookie(pass), /HttpOnly; SameSite=Strict/);
});
