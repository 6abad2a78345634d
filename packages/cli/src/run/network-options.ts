/** `--net`, `--mac`, `--publish`, `--host-port`: the network of a guest that runs in this process. */
import type { Publish } from '@revenant/cluster';
import { publishOf } from '@revenant/cluster/publish';
import { formatMac, isGroupMac, parseAddress, parseMac, type Forward } from '@revenant/network';
import type { NetworkCardDescription } from '@revenant/emulator';
import type { StreamPlace } from '@revenant/network/host-node';
import { CliError, ExitCode } from '../errors.ts';
import type { RunOptions } from './options.ts';

export type NetworkOption =
  { kind: 'user'; forwards: readonly Forward[]; hostPorts: readonly number[] } | PeerOption;

/** A peer that takes frames; `plug` is reached by VDE's plug. */
type PeerOption = { kind: 'stream'; place: StreamPlace } | { kind: 'plug'; place: string };
type NetworkChoice = { kind: 'none' } | { kind: 'user' } | PeerOption;

/** QEMU's first address, so that guests that were installed there find the card they know. */
export const defaultMac = '52:54:00:12:34:56';

/** Names that Linux gives network devices: not empty, of 16 bytes or more, nor with a slash, a colon or white space. */
const deviceName = /^(?!\.{1,2}$)[^/:\s]{1,15}$/;

function usage(message: string, hint: string): CliError {
  return new CliError(ExitCode.usage, message, hint);
}

export function parseNetwork(text: string, name: string): NetworkChoice {
  if (text === 'none' || text === 'user') return { kind: text };
  if (text.startsWith('stream:unix:') && text.length > 12)
    return { kind: 'stream', place: { path: text.slice(12) } };
  const peer = /^stream:(.+):(\d{1,5})$/.exec(text);
  if (peer !== null) return { kind: 'stream', place: { host: peer[1]!, port: port(peer[2]!, name) } };
  if (text.startsWith('vde:') && text.length > 4) return { kind: 'plug', place: text.slice(4) };
  if (text.startsWith('tap:')) {
    const device = text.slice(4);
    if (deviceName.test(device)) return { kind: 'plug', place: `tap://${device}` };
    throw usage(`${name}: '${device}' is no name of a network device`, 'give tap:NAME, such as tap:tap0');
  }
  throw usage(
    `${name}: '${text}' is no network`,
    'give none, user, stream:unix:PATH, stream:HOST:PORT, vde:SWITCH or tap:NAME',
  );
}

/** The address of a card: a station's, so neither a group's nor all zeros. Throws CliError. */
export function parseCardMac(text: string, name: string): string {
  const mac = parseMac(text);
  if (mac === undefined || mac === 0 || isGroupMac(mac))
    throw usage(
      `${name}: '${text}' is no address of a network card`,
      'give six bytes with an even first one, such as 52:54:00:12:34:57',
    );
  return formatMac(mac);
}

function port(text: string, name: string, least = 1): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (value < least || value > 65_535)
    throw usage(`${name}: '${text}' is no port`, `give a number from ${least.toString()} to 65535`);
  return value;
}

export function parseHostPort(text: string, name: string): number {
  return port(text, name);
}

export function parsePublish(text: string, name: string): Forward {
  const parts = /^(?:([^:]+):)?(\d+):(\d+)(?:\/(tcp|udp))?$/.exec(text);
  if (parts === null)
    throw usage(`${name}: '${text}' is not [ADDRESS:]PORT:GUESTPORT[/udp]`, `for example ${name} 8080:80`);
  const hostAddress = parts[1] === undefined ? '127.0.0.1' : parts[1] === '*' ? '0.0.0.0' : parts[1];
  if (parseAddress(hostAddress) === undefined)
    throw usage(
      `${name}: '${hostAddress}' is no IPv4 address`,
      `for example ${name} 0.0.0.0:8080:80 for all of them`,
    );
  return {
    protocol: parts[4] === 'udp' ? 'udp' : 'tcp',
    hostAddress,
    hostPort: port(parts[2]!, name, 0),
    guestPort: port(parts[3]!, name),
  };
}

/** Of a VM of a cluster: which node listens, or all of them. Throws CliError. */
export function parsePublishOn(text: string, name: string): Publish {
  const publish = publishOf(text);
  if (publish !== undefined) return publish;
  throw usage(
    `${name}: '${text}' is not [NODE:]PORT:GUESTPORT[/udp]`,
    `for example ${name} 8080:80, or ${name} a:8080:80 for node a alone; ports are 1 to 65535`,
  );
}

/** The network that was asked for; undefined for none. Throws CliError for what makes no sense together. */
export function networkRequest(
  choice: NetworkChoice | undefined,
  forwards: readonly Forward[],
  hostPorts: readonly number[],
): NetworkOption | undefined {
  if (choice?.kind === 'user') return { kind: 'user', forwards, hostPorts };
  const [option] = [...forwards.map(() => '--publish'), ...hostPorts.map(() => '--host-port')];
  if (option !== undefined) throw usage(`${option}: the guest has no network of its own`, 'add --net user');
  return choice?.kind === 'none' ? undefined : choice;
}

export function networkCard({ nic: model, mac }: Pick<RunOptions, 'nic' | 'mac'>): NetworkCardDescription {
  return { mac: mac ?? defaultMac, mtu: 1500, model: model ?? 'virtio' };
}
