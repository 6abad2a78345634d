/** DHCP messages: RFC 2131, 2; options: RFC 2132. */
import { readMac, writeMac } from './address.ts';
import { get16, get32, set32 } from './bytes.ts';

export const DhcpType = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;
// prettier-ignore
export const DhcpOption = {
  pad: 0, mask: 1, router: 3, nameServer: 6, mtu: 26, broadcast: 28, requestedAddress: 50, leaseSeconds: 51, overload: 52, type: 53,
  server: 54, renewal: 58, rebinding: 59, end: 255,
} as const;
const Operation = { request: 1, reply: 2 } as const;
const Field = {
  transaction: 4,
  flags: 10,
  client: 12,
  yours: 16,
  server: 20,
  relay: 24,
  hardware: 28,
  cookie: 236,
  options: 240,
} as const;
const cookie = 0x63825363;
const broadcastFlag = 0x8000;
/** BOOTP's size, which old clients insist on. */
const leastBytes = 300;

export interface DhcpMessage {
  type: number;
  transaction: number;
  broadcast: boolean;
  /** The client's own address, when it has one already. */
  client: number;
  mac: number;
  requested: number | undefined;
  server: number | undefined;
}

export function readDhcp(data: Uint8Array): DhcpMessage | undefined {
  if (data.length < Field.options || data[0] !== Operation.request || data[1] !== 1 || data[2] !== 6)
    return undefined;
  // A relay agent has no business on this segment.
  if (get32(data, Field.cookie) !== cookie || get32(data, Field.relay) !== 0) return undefined;
  const options = readOptions(data.subarray(Field.options));
  const type = options.get(DhcpOption.type);
  if (type?.length !== 1) return undefined;
  const address = (option: number): number | undefined => {
    const value = options.get(option);
    return value?.length === 4 ? get32(value, 0) : undefined;
  };
  return {
    type: type[0]!,
    transaction: get32(data, Field.transaction),
    broadcast: (get16(data, Field.flags) & broadcastFlag) !== 0,
    client: get32(data, Field.client),
    mac: readMac(data, Field.hardware),
    requested: address(DhcpOption.requestedAddress),
    server: address(DhcpOption.server),
  };
}

function readOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length && bytes[at] !== DhcpOption.end;) {
    const code = bytes[at]!;
    if (code === DhcpOption.pad) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) break;
    options.set(code, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

export interface DhcpReply {
  type: number;
  /** 0 for none. */
  yours: number;
  server: number;
  /** Option numbers with their values. */
  options: readonly (readonly [number, Uint8Array])[];
}

export function buildDhcp(request: DhcpMessage, reply: DhcpReply): Uint8Array {
  const options = [
    DhcpOption.type,
    1,
    reply.type,
    DhcpOption.server,
    4,
    ...addressBytes(reply.server),
    ...reply.options.flatMap(([code, value]) => [code, value.length, ...value]),
    DhcpOption.end,
  ];
  const data = new Uint8Array(Math.max(Field.options + options.length, leastBytes));
  data[0] = Operation.reply;
  data[1] = 1;
  data[2] = 6;
  set32(data, Field.transaction, request.transaction);
  if (request.broadcast) data[Field.flags] = broadcastFlag >> 8;
  if (reply.type === DhcpType.ack) set32(data, Field.client, request.client);
  set32(data, Field.yours, reply.yours);
  set32(data, Field.server, reply.server);
  writeMac(data, Field.hardware, request.mac);
  set32(data, Field.cookie, cookie);
  data.set(options, Field.options);
  return data;
}

export function addressBytes(address: number): Uint8Array {
  const bytes = new Uint8Array(4);
  set32(bytes, 0, address);
  return bytes;
}
