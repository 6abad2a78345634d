/** Networks in the protected list: addresses of VMs, published ports, numbers of nodes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatAddress, formatMac } from '@revenant/network';
import { applyCommand, spec } from '../../test-support/decisions.ts';
import { layoutOf, nodePlace, withSlots } from './networks.ts';
import { emptyList, type NetworkSpec, type ProtectedList, type Publish } from './records.ts';

const lan: NetworkSpec = { subnet: '10.64.0.0/16', outbound: true, guard: true, hostPorts: [] };

const withNetwork = (change: Partial<NetworkSpec> = {}, list = emptyList(), network = 'lan'): ProtectedList =>
  applyCommand(list, { type: 'network-create', network, spec: { ...lan, ...change } }, []);

function withVm(list: ProtectedList, vmId: string, publish: Publish[] = [], name = 'lan'): ProtectedList {
  const wanted = { ...spec, network: { name, publish } };
  return applyCommand(list, { type: 'vm-create', vmId, spec: wanted, start: true }, []);
}

const web: Publish = { on: '*', protocol: 'tcp', port: 8080, guestPort: 80 };

describe('networks in the protected list', () => {
  test('give each VM a MAC and an address of its own, kept as long as it is there', () => {
    let list = withVm(withVm(withNetwork(), 'one'), 'two');
    assert.deepEqual(list.vms['one']!.nic, { mac: '52:56:0a:40:01:00', address: '10.64.1.0' });
    assert.deepEqual(list.vms['two']!.nic, { mac: '52:56:0a:40:01:01', address: '10.64.1.1' });
    const { one, ...rest } = list.vms;
    list = { ...list, vms: { ...rest, one: { ...one!, status: 'deleted', desired: 'deleted' } } };
    assert.equal(withVm(list, 'three').vms['three']!.nic!.address, '10.64.1.0');
  });

  test('give a fork a card of its own, and keep what its guest may take itself for', () => {
    let list = withVm(withNetwork(), 'one');
    const fork = (vmId: string, vm: string): void => {
      const network = { name: 'lan', publish: [] };
      const wanted = { ...spec, network, origin: { vm, checkpoint: '1-1' } };
      list = applyCommand(list, { type: 'vm-create', vmId, spec: wanted, start: true }, []);
    };
    fork('two', 'one');
    fork('three', 'two');
    assert.deepEqual(list.vms['two']!.nic, {
      mac: '52:56:0a:40:01:01',
      address: '10.64.1.1',
      former: ['10.64.1.0'],
    });
    assert.deepEqual(list.vms['three']!.nic?.former, ['10.64.1.0', '10.64.1.1']);
    for (let n = 4; n < 40; n++) fork(`vm${String(n)}`, n === 4 ? 'three' : `vm${String(n - 1)}`);
    const { former = [] } = list.vms['vm39']!.nic!;
    assert.equal(former.length, 16);
    assert.deepEqual(
      [former[0], former.at(-1)],
      ['10.64.1.0', '10.64.1.37'],
      'of many the first and the last',
    );
  });

  test('give a restored VM the card that it had, or another one where that is in use', () => {
    const list = withVm(withNetwork(), 'one');
    const nic = { mac: '52:56:0a:40:01:00', address: '10.64.1.0' };
    const restore = (to: ProtectedList): unknown => {
      const wanted = { ...spec, network: { name: 'lan', publish: [] } };
      return applyCommand(to, { type: 'vm-create', vmId: 'two', spec: wanted, start: true, nic }, []).vms[
        'two'
      ]!.nic;
    };
    assert.deepEqual(restore(withNetwork()), nic);
    assert.deepEqual(restore(list), {
      mac: '52:56:0a:40:01:01',
      address: '10.64.1.1',
      former: ['10.64.1.0'],
    });
    assert.throws(() => restore(withNetwork({ subnet: '10.9.0.0/16' })), { code: 'CONFLICT' });
  });

  test('have as many VMs as addresses', () => {
    let list = withNetwork({ subnet: '192.168.7.0/24' });
    const { firstVm, lastVm } = layoutOf(lan);
    assert.deepEqual([firstVm, lastVm].map(formatAddress), ['10.64.1.0', '10.64.255.254']);
    for (let n = 64; n < 255; n++) list = withVm(list, `vm${String(n)}`);
    assert.equal(list.vms['vm254']!.nic!.address, '192.168.7.254');
    assert.throws(() => withVm(list, 'one-more'), { code: 'NO_CAPACITY' });
  });

  test('are refused when they make no sense, and kept while somebody is in them', () => {
    const list = withVm(withNetwork(), 'one');
    assert.throws(() => withNetwork({}, list), { code: 'CONFLICT' });
    assert.throws(() => withNetwork({}, list, 'No Name'), { code: 'BAD_REQUEST' });
    assert.throws(() => withNetwork({ subnet: '10.0.0.1/16' }), { code: 'BAD_REQUEST' });
    assert.throws(() => withNetwork({ subnet: '10.0.0.0/30' }), { code: 'BAD_REQUEST' });
    assert.throws(() => withNetwork({ subnet: '300.0.0.0/16' }), { code: 'BAD_REQUEST' });
    assert.throws(() => withVm(list, 'two', [], 'wan'), { code: 'NOT_FOUND' });
    const remove = { type: 'network-delete', network: 'lan' } as const;
    assert.throws(() => applyCommand(list, remove, []), { code: 'CONFLICT' });
    assert.deepEqual(applyCommand(withNetwork(), remove, []).networks, {});
    assert.throws(() => applyCommand(emptyList(), { ...remove, network: 'constructor' }, []), {
      code: 'NOT_FOUND',
    });
  });

  test('publish a port of a node once', () => {
    const list = withVm(withNetwork(), 'one', [web]);
    assert.throws(() => withVm(list, 'two', [{ ...web, on: 'a' }]), { code: 'CONFLICT' });
    assert.throws(
      () =>
        withVm(list, 'two', [
          { ...web, port: 1 },
          { ...web, port: 1 },
        ]),
      { code: 'CONFLICT' },
    );
    withVm(list, 'two', [
      { ...web, protocol: 'udp' },
      { ...web, port: 8081 },
    ]);
    const onA = withVm(withNetwork(), 'one', [{ ...web, on: 'a' }]);
    withVm(onA, 'two', [{ ...web, on: 'b' }]);
  });

  test('give each node a number once there is a network, never one that another had', () => {
    assert.deepEqual(withSlots(emptyList(), ['a']).slots, {});
    const list = withSlots(withNetwork(), ['b', 'a']);
    assert.deepEqual(list.slots, { a: 0, b: 1 });
    assert.equal(withSlots(list, ['b']), list, 'nothing to write');
    assert.deepEqual(withSlots(list, ['c', 'b']).slots, { a: 0, b: 1, c: 2 });
    const place = nodePlace(layoutOf(lan), 2)!;
    assert.equal(formatAddress(place.address), '10.64.0.6');
    assert.deepEqual([place.gatewayMac, place.entryMac].map(formatMac), [
      '52:57:0a:40:00:06',
      '52:58:0a:40:00:06',
    ]);
    assert.equal(nodePlace(layoutOf({ subnet: '192.168.7.0/24' }), 60), undefined);
  });
});
