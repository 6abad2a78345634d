/** The options of `run` that give a guest a network. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  networkRequest,
  parseCardMac,
  parseHostPort,
  parseNetwork,
  parsePublish,
} from './network-options.ts';

test('--net, --publish and --host-port are read', () => {
  assert.deepEqual(parseNetwork('user', '--net'), { kind: 'user' });
  assert.deepEqual(parseNetwork('stream:unix:/run/a:b', '--net'), {
    kind: 'stream',
    place: { path: '/run/a:b' },
  });
  assert.deepEqual(parseNetwork('stream:[::1]:99', '--net'), {
    kind: 'stream',
    place: { host: '[::1]', port: 99 },
  });
  assert.deepEqual(parseNetwork('vde:/run/switch', '--net'), { kind: 'plug', place: '/run/switch' });
  assert.deepEqual(parseNetwork('tap:tap0', '--net'), { kind: 'plug', place: 'tap://tap0' });
  assert.equal(parseCardMac('52:54:00:AB:cd:01', '--mac'), '52:54:00:ab:cd:01');
  const forward = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 };
  assert.deepEqual(parsePublish('8080:80', '--publish'), forward);
  assert.deepEqual(parsePublish('*:0:53/udp', '--publish'), {
    protocol: 'udp',
    hostAddress: '0.0.0.0',
    hostPort: 0,
    guestPort: 53,
  });
  assert.equal(parsePublish('192.0.2.1:8080:80/tcp', '--publish').hostAddress, '192.0.2.1');
});

test('what makes no sense is refused in one line that says what does', () => {
  for (const text of [
    '',
    'lan',
    'stream:',
    'stream:host',
    'stream:host:0',
    'stream:host:65536',
    'vde:',
    'tap:',
    'tap:a/b',
    'tap:longer-than-linux',
  ])
    assert.throws(() => parseNetwork(text, '--net'), /^CliError: --net/);
  for (const text of ['80', '8080:0', '99999:80', 'host:8080:80', '8080:80/sctp', ':8080:80'])
    assert.throws(() => parsePublish(text, '--publish'), /^CliError: --publish/);
  for (const text of ['', '52:54:00:12:34', '53:54:00:12:34:56', '00:00:00:00:00:00', '52-54-00-12-34-56'])
    assert.throws(() => parseCardMac(text, '--mac'), /^CliError: --mac/);
  assert.throws(() => parseHostPort('0', '--host-port'), /^CliError: --host-port/);
  const forward = parsePublish('8080:80', '--publish');
  assert.throws(
    () => networkRequest(undefined, [forward], []),
    /--publish: the guest has no network of its own/,
  );
  assert.throws(() => networkRequest({ kind: 'none' }, [], [80]), /--host-port/);
  assert.equal(networkRequest(undefined, [], []), undefined);
});
