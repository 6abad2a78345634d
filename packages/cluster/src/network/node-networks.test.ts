/** Networks of guests over several nodes: one segment, published ports, guards, gateways that end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { parseAddress, parseMac, readMac } from '@revenant/network';
import { ArpOperation, buildArp } from '../../../network/src/wire/arp.ts';
import { writeEthernet } from '../../../network/src/wire/ethernet.ts';
import { TcpFlag } from '../../../network/src/wire/tcp.ts';
import { EchoGuest } from '../../test-support/echo-guest.ts';
import { spec } from '../../test-support/decisions.ts';
import { applyCommand } from '../decisions/commands.ts';
import { withSlots } from '../decisions/networks.ts';
import { emptyList, type ProtectedList, type Publish } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import type { HostState } from '../protocol/api.ts';
import { messageSchema, type NetworkMessage } from '../protocol/link.ts';
import type { VmSpec } from '../protocol/spec.ts';
import { check } from '../protocol/schema.ts';
import { until } from '../testing/until.ts';
import { NodeNetworks } from './node-networks.ts';

const names = ['a', 'b', 'c'];
const broadcast = 0xffff_ffff_ffff;

/** Three nodes whose links are function calls, and guests without machines. */
class Lab {
  list: ProtectedList = emptyList();
  readonly nodes = new Map<string, NodeNetworks>();
  readonly guests = new Map<string, EchoGuest>();
  readonly entries: LogEntry[] = [];
  readonly states = new Map<string, HostState>(names.map((name) => [name, 'alive']));
  readonly messages: NetworkMessage[] = [];

  constructor(networks: Record<string, { guard?: boolean }> = { lan: {} }) {
    for (const [network, { guard = false }] of Object.entries(networks)) {
      const wanted = { subnet: '10.64.0.0/16', outbound: true, guard, hostPorts: [] };
      this.list = applyCommand(this.list, { type: 'network-create', network, spec: wanted }, []);
    }
    this.list = withSlots(this.list, names);
    for (const node of names)
      this.nodes.set(
        node,
        new NodeNetworks({
          node,
          host: '127.0.0.1',
          nowMs: () => performance.now(),
          log: (entry) => this.entries.push(entry),
          send: (to, message) => this.#carry(node, to, message),
        }),
      );
    this.see();
  }

  #carry(from: string, to: string, message: NetworkMessage): void {
    check(messageSchema, message, 'what a node sends');
    this.messages.push(message);
    if (this.states.get(to) === 'alive') this.nodes.get(to)?.heard(from, message);
  }

  see(): void {
    for (const [id, node] of this.nodes) {
      const peers = new Map(
        [...this.states].filter(([name]) => name !== id).map(([name, state]) => [name, { state }]),
      );
      node.see({ id, list: this.list, peers });
    }
  }

  create(
    vmId: string,
    network = 'lan',
    publish: Publish[] = [],
    origin?: NonNullable<VmSpec['origin']>,
  ): EchoGuest {
    const wanted = { ...spec, network: { name: network, publish }, ...(origin && { origin }) };
    this.list = applyCommand(this.list, { type: 'vm-create', vmId, spec: wanted, start: true }, []);
    this.see();
    const { nic } = this.list.vms[vmId]!;
    const guest = new EchoGuest(parseMac(nic!.mac)!, parseAddress(nic!.address)!);
    this.guests.set(vmId, guest);
    return guest;
  }

  /** Has a guest run on a node. `at()` is its instruction count whenever it sends. */
  run(vmId: string, node: string, life: { epoch: number; resumedAt?: number; at?: () => number }): void {
    const { epoch, resumedAt = 0, at = () => 1 } = life;
    const guest = this.guests.get(vmId)!;
    const here = this.nodes.get(node)!;
    here.arrived({
      vm: this.list.vms[vmId]!,
      epoch,
      resumedAt: BigInt(resumedAt),
      deliver: (frame) => guest.deliver(frame),
    });
    guest.send = (frame) => here.sent(vmId, epoch, frame, BigInt(at()));
  }

  die(node: string): void {
    this.states.set(node, 'dead');
    void this.nodes.get(node)!.close();
    this.nodes.delete(node);
    this.see();
  }

  async close(): Promise<void> {
    for (const node of this.nodes.values()) await node.close();
  }
}

function plain(source: number, destination: number): Uint8Array {
  const frame = new Uint8Array(60);
  writeEthernet(frame, { source, destination, type: 0x88b5 });
  return frame;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function published(lab: Lab, count: number): Promise<void> {
  await until(
    'published ports',
    () => lab.entries.filter(({ event }) => event === 'port-published').length >= count,
  );
}

async function echo(socket: Socket, text: string): Promise<void> {
  socket.write(text);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.equal(answer.toString(), text);
}

async function client(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  // Whoever closes its end last is told with a reset.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

describe('a network over three nodes', () => {
  test('is one segment, and a guest is found at once where it goes on', async () => {
    const lab = new Lab();
    const [one, two] = [lab.create('one'), lab.create('two')];
    lab.run('one', 'a', { epoch: 1 });
    lab.run('two', 'b', { epoch: 1 });
    one.send(plain(one.mac, two.mac));
    await until('a frame', () => two.heard.length === 1);
    lab.run('two', 'c', { epoch: 2 });
    lab.nodes.get('b')!.left('two', 1);
    one.send(plain(one.mac, two.mac));
    await until('a frame', () => two.heard.length === 2);
    const before = two.send;
    lab.run('two', 'b', { epoch: 3 });
    // What its last owner still sends is dropped: it is not what the guest says now.
    before(plain(two.mac, one.mac));
    two.send(plain(two.mac, one.mac));
    await until('a frame', () => one.heard.length > 0);
    await new Promise(setImmediate);
    assert.equal(one.heard.length, 1);
    await lab.close();
  });

  test('shows a guest nothing of another network', async () => {
    const lab = new Lab({ lan: {}, other: {} });
    const [one, two, stranger] = [lab.create('one'), lab.create('two'), lab.create('stranger', 'other')];
    lab.run('one', 'a', { epoch: 1 });
    lab.run('stranger', 'a', { epoch: 1 });
    lab.run('two', 'b', { epoch: 1 });
    assert.equal(stranger.address, one.address, 'addresses of networks have nothing to do with each other');
    one.send(plain(one.mac, broadcast));
    one.send(plain(one.mac, 0x525600000001));
    await until('frames', () => two.heard.length === 2);
    assert.equal(stranger.heard.length, 0);
    await lab.close();
  });

  test('drops what a guest sends under a foreign name, with a guard, and lets it pass without', async () => {
    for (const guard of [true, false]) {
      const lab = new Lab({ lan: { guard } });
      const [one, two] = [lab.create('one'), lab.create('two')];
      lab.run('one', 'a', { epoch: 1 });
      lab.run('two', 'b', { epoch: 1 });
      const lie = {
        operation: ArpOperation.reply,
        senderMac: one.mac,
        senderAddress: two.address + 1,
        targetMac: 0,
        targetAddress: two.address,
      };
      one.send(plain(one.mac + 7, two.mac));
      one.send(buildArp(lie, { destination: two.mac }));
      one.send(buildArp({ ...lie, senderAddress: one.address }, { destination: two.mac }));
      await until('the honest frame', () => two.heard.length >= (guard ? 1 : 3));
      assert.equal(two.heard.length, guard ? 1 : 3);
      await lab.close();
    }
  });

  test('two forks beside their parent, each of which takes itself for it, are reached by their own addresses', async () => {
    const lab = new Lab({ lan: { guard: true } });
    const ports = [await freePort(), await freePort(), await freePort()];
    const publish = ports.map((port): Publish[] => [{ on: 'a', protocol: 'tcp', port, guestPort: 80 }]);
    const parent = lab.create('parent', 'lan', publish[0]);
    for (const [n, vmId] of ['fork-1', 'fork-2'].entries()) {
      lab.create(vmId, 'lan', publish[n + 1], { vm: 'parent', checkpoint: '1-1' });
      lab.guests.set(vmId, new EchoGuest(parent.mac, parent.address));
    }
    await published(lab, 3);
    lab.run('parent', 'a', { epoch: 1 });
    lab.run('fork-1', 'b', { epoch: 1 });
    lab.run('fork-2', 'a', { epoch: 1 });
    const sockets = await Promise.all(ports.map((port) => client(port)));
    for (const [n, socket] of sockets.entries()) await echo(socket, `to number ${String(n)}`);
    // One goes on elsewhere, where nobody knows yet by what name its guest goes.
    lab.nodes.get('b')!.left('fork-1', 1);
    lab.run('fork-1', 'c', { epoch: 2 });
    await echo(await client(ports[1]!), 'a new connection');
    for (const socket of sockets) socket.destroy();
    await lab.close();
  });

  test('publishes a port on any node; a connection ends when its guest goes back behind it, else it goes on', async () => {
    const lab = new Lab();
    const ports = [await freePort(), await freePort()];
    const publish = ports.map((port, n): Publish => ({
      on: names[n]!,
      protocol: 'tcp',
      port,
      guestPort: 80,
    }));
    lab.create('web', 'lan', publish);
    await published(lab, 2);
    let count = 100;
    lab.run('web', 'c', { epoch: 1, at: () => count });
    const [kept, lost] = [await client(ports[0]!), await client(ports[1]!)];
    await echo(kept, 'by node a');
    await echo(lost, 'by node b');
    count = 200;
    await echo(lost, 'after the checkpoint');
    const reset = once(lost, 'error') as Promise<[NodeJS.ErrnoException]>;
    // The checkpoint is of count 150: node c dies, node a goes on from there.
    lab.die('c');
    lab.run('web', 'a', { epoch: 2, resumedAt: 150, at: () => count });
    assert.equal((await reset)[0].code, 'ECONNRESET');
    const guest = lab.guests.get('web')!;
    await until('the reset at the guest', () => guest.resets === 1);
    const ended = lab.entries.filter(({ event }) => event === 'connections-ended');
    assert.deepEqual(
      ended.map(({ vm, node, details }) => ({ vm, node, details })),
      [{ vm: 'web', node: 'b', details: { ended: 1 } }],
    );
    count = 160;
    await echo(kept, 'still the same connection');
    await echo(await client(ports[1]!), 'and a new one');
    kept.destroy();
    await lab.close();
  });

  test('tells a guest whose gateway died with its node that its connections are gone', async () => {
    const lab = new Lab();
    const guest = lab.create('one');
    lab.run('one', 'a', { epoch: 1 });
    const gateway = {
      operation: ArpOperation.request,
      senderMac: guest.mac,
      senderAddress: guest.address,
      targetMac: 0,
      targetAddress: parseAddress('10.64.0.2')!,
    };
    guest.send(buildArp(gateway, { destination: broadcast }));
    await until('the gateway', () => guest.heard.length > 0);
    assert.equal(guest.heard.length, 1, 'one gateway answers, that of its own node');
    const gatewayMac = readMac(guest.heard[0]!, 6);
    lab.die('a');
    lab.run('one', 'b', { epoch: 2 });
    // It goes on with a connection that node a had to the world.
    const segment = {
      sourcePort: 5000,
      destinationPort: 443,
      sequence: 1,
      acknowledgment: 1,
      flags: TcpFlag.ack,
      payload: new Uint8Array(3),
    };
    guest.sendSegment({ mac: gatewayMac, address: parseAddress('192.0.2.7')! }, segment);
    await until('the reset', () => guest.resets === 1);
    await lab.close();
  });
});
