/** What one gateway is like: addresses, what guests may reach, forwards, bounds. The default is that of QEMU's user network. */
import { formatAddress, inSubnet, type Subnet } from '../wire/address.ts';

export interface Forward {
  protocol: 'tcp' | 'udp';
  /** Where the host listens; port 0 takes any. */
  hostAddress: string;
  hostPort: number;
  /** Undefined is the first address that the DHCP server gives. */
  guestAddress?: number | undefined;
  guestPort: number;
}

export interface GatewaySettings {
  mac: number;
  subnet: Subnet;
  address: number;
  /** Undefined: guests are offered no name server. */
  nameServer: number | undefined;
  /** First and last address that the DHCP server gives to whom it doesn't know; undefined: only who has a reservation gets one. */
  pool: { first: number; last: number } | undefined;
  /** Addresses that belong to a MAC. */
  reservations: readonly { mac: number; address: number }[];
  leaseSeconds: number;
  mtu: number;
  /** The largest frame that guests take: more than the MTU's only where a device cuts segments itself. */
  frameBytes: number;
  /** By number; undefined where one was taken back. */
  forwards: readonly (Forward | undefined)[];
  /** Guests reach the world beyond the gateway. Otherwise only forwards work, and no router or name server is offered. */
  outbound: boolean;
  /** Ports of the host's loopback that guests reach at the gateway's address. */
  hostPorts: readonly number[];
  limits: GatewayLimits;
}

export interface GatewayLimits {
  tcpFlows: number;
  /** Of these, connections whose host side isn't there yet. */
  tcpConnecting: number;
  udpFlows: number;
  dnsQueries: number;
  dnsCacheEntries: number;
  neighbours: number;
  fragmentedPackets: number;
  tcpBufferBytes: number;
}

const at = (last: number): number => 0x0a000200 + last;

export function defaultGatewaySettings(): GatewaySettings {
  return {
    mac: 0x5255_0a00_0202,
    subnet: { base: at(0), prefixLength: 24 },
    address: at(2),
    nameServer: at(3),
    pool: { first: at(15), last: at(254) },
    reservations: [],
    leaseSeconds: 86_400,
    mtu: 1500,
    frameBytes: 1514,
    forwards: [],
    outbound: true,
    hostPorts: [],
    limits: {
      tcpFlows: 1024,
      tcpConnecting: 256,
      udpFlows: 512,
      dnsQueries: 128,
      dnsCacheEntries: 512,
      neighbours: 256,
      fragmentedPackets: 16,
      tcpBufferBytes: 0x8_0000,
    },
  };
}

/** What is wrong with settings, in a sentence; undefined when nothing is. */
export function whySettingsAreWrong(settings: GatewaySettings): string | undefined {
  const { subnet, address, nameServer, pool, reservations, mtu } = settings;
  const outside = [
    address,
    nameServer ?? address,
    pool?.first ?? address,
    pool?.last ?? address,
    ...reservations.map((entry) => entry.address),
  ].find((each) => !inSubnet(subnet, each));
  if (outside !== undefined)
    return `${formatAddress(outside)} is not in ${formatAddress(subnet.base)}/${subnet.prefixLength.toString()}`;
  if (address === nameServer) return 'the gateway and the name server need different addresses';
  if (pool !== undefined && pool.first > pool.last)
    return 'the first address of the DHCP pool is behind the last';
  if (mtu < 576 || mtu > 65_535) return `an MTU of ${mtu.toString()} is not between 576 and 65535`;
  const forwards = settings.forwards.filter((forward) => forward !== undefined);
  const double = forwards.find((forward, n) =>
    forwards.some((other, m) => m < n && sameListener(forward, other)),
  );
  if (double !== undefined)
    return `port ${double.hostPort.toString()} is published twice: give each --publish a host port of its own`;
  return undefined;
}

function sameListener(a: Forward, b: Forward): boolean {
  return (
    a.protocol === b.protocol &&
    a.hostPort === b.hostPort &&
    a.hostPort !== 0 &&
    a.hostAddress === b.hostAddress
  );
}

/** Where a forward leads: 0.0.0.0, where nobody is, when it names no guest and no address is given away. */
export function guestOf(settings: GatewaySettings, forward: Forward): number {
  return forward.guestAddress ?? settings.pool?.first ?? 0;
}
