/** Passes, by which the page shows a node who somebody is. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { callerOfPass, makePass, passCookie, passOf } from './pass.ts';

const of = { token: 'a token of the cluster', host: 'node-a.example' };
const now = 1_800_000_000_000;

test('a pass says its role on every node with the token, for pages of its host, until it is over', () => {
  for (const role of ['view', 'operate', 'admin'] as const) {
    const pass = makePass(of, { name: 'ann', role }, now);
    assert.deepEqual(callerOfPass(of, pass, now), { name: 'ann', role });
    assert.equal(callerOfPass({ ...of, token: 'another token' }, pass, now), undefined);
    assert.equal(callerOfPass({ ...of, host: 'evil.example' }, pass, now), undefined);
    assert.equal(callerOfPass(of, pass, now + 9 * 3600_000), undefined);
  }
});

test('a pass that was changed is none, wherever it was changed', () => {
  const pass = makePass(of, { name: 'ann', role: 'view' }, now);
  assert.equal(callerOfPass(of, pass.replace('view', 'admin'), now), undefined);
  assert.equal(callerOfPass(of, pass.replace('ann', 'bob'), now), undefined);
  for (let at = 0; at < pass.length; at++) {
    const changed = `${pass.slice(0, at)}${pass[at] === '0' ? '1' : '0'}${pass.slice(at + 1)}`;
    assert.equal(callerOfPass(of, changed, now), undefined);
  }
  for (const none of [
    '',
    '.',
    '..',
    'admin',
    `.admin.${String(now * 2)}`,
    `.constructor.${String(now * 2)}.`,
  ])
    assert.equal(callerOfPass(of, none, now), undefined);
});

test('a pass is found in the cookie or among the subprotocols', () => {
  const pass = makePass(of, { name: '', role: 'operate' }, now);
  const [cookie] = passCookie(pass).split(';');
  assert.equal(passOf({ cookie: `other=1; ${cookie!}` }), pass);
  assert.equal(passOf({ subprotocols: `revenant-page, revenant-pass.${pass}` }), pass);
  assert.equal(passOf({ cookie: passCookie(undefined).split(';')[0] }), undefined);
  assert.match(passCookie(pass), /HttpOnly; SameSite=Strict/);
});

test('a pass that is shown in a header counts, and no other scheme does', () => {
  const pass = makePass(of, { name: '', role: 'operate' }, now);
  assert.equal(passOf({ authorization: `Revenant-Pass ${pass}`, cookie: 'revenant-session=other' }), pass);
  assert.equal(passOf({ authorization: `Revenant ${pass}` }), undefined);
});
