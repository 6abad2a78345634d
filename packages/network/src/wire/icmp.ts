/** ICMP: RFC 792; what a router may answer to: RFC 1122, 3.2.2. */
import { checksum, get16, set16, sum16 } from './bytes.ts';
import { ethernetHeaderBytes } from './ethernet.ts';
import type { Ipv4Header } from './ipv4.ts';

export const IcmpType = { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11 } as const;
export const Unreachable = { network: 0, host: 1, protocol: 2, port: 3, tooBig: 4, prohibited: 13 } as const;
export const icmpHeaderBytes = 8;

export interface IcmpMessage {
  type: number;
  code: number;
  /** Everything behind type, code and checksum. */
  rest: Uint8Array;
}

export function readIcmp(
  packet: Uint8Array,
  { payloadFrom, payloadTo }: Pick<Ipv4Header, 'payloadFrom' | 'payloadTo'>,
): IcmpMessage | undefined {
  if (payloadTo - payloadFrom < icmpHeaderBytes || sum16(packet, payloadFrom, payloadTo) !== 0xffff)
    return undefined;
  return {
    type: packet[payloadFrom]!,
    code: packet[payloadFrom + 1]!,
    rest: packet.subarray(payloadFrom + 4, payloadTo),
  };
}

export function buildIcmp({ type, code, rest }: IcmpMessage): Uint8Array {
  const message = new Uint8Array(4 + rest.length);
  message[0] = type;
  message[1] = code;
  message.set(rest, 4);
  set16(message, 2, checksum(sum16(message, 0, message.length)));
  return message;
}

/** An error about a packet quotes its header and the first 8 bytes behind it. */
export function buildIcmpError(
  error: { type: number; code: number },
  frame: Uint8Array,
  { payloadFrom, payloadTo }: Ipv4Header,
): Uint8Array {
  const quoted = frame.subarray(ethernetHeaderBytes, Math.min(payloadFrom + 8, payloadTo));
  const rest = new Uint8Array(4 + quoted.length);
  rest.set(quoted, 4);
  return buildIcmp({ ...error, rest });
}

/** RFC 1122, 3.2.2: no error about an error, nor about a later fragment, nor to somebody who can't be named. */
export function mayAnswerWithError(frame: Uint8Array, header: Ipv4Header): boolean {
  const isError =
    header.protocol === 1 &&
    header.payloadTo > header.payloadFrom &&
    frame[header.payloadFrom] !== IcmpType.echo;
  return (
    !isError &&
    header.fragmentOffset === 0 &&
    header.source >>> 24 !== 0 &&
    header.source >>> 28 < 0xe &&
    get16(frame, 0) !== 0xffff &&
    (frame[0]! & 1) === 0
  );
}
