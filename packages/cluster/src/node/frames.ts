// Frames between nodes (docs/CLUSTER_PROTOCOL.md, "Links"): msgpackr inside a 16-byte message code. The code covers direction
// and position, under a key made of both sides' nonces: a frame can't be forged, repeated, reordered or used on another link.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Packr } from 'msgpackr';
import type { StoreBeat } from '../decisions/records.ts';
import type { Message } from '../decisions/types.ts';
import { ClusterError } from '../errors.ts';

export const PROTOCOL_VERSION = 1;
export const MAX_FRAME_BYTES = 4 << 20;
export const NONCE_BYTES = 16;
const MAC_BYTES = 16;
const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

const TYPES = new Set<string>([
  'heartbeat',
  'list',
  'released',
  'prepared',
  'give-up',
  'command',
  'answer',
] satisfies Message['type'][]);

export function mac(key: Uint8Array, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const hmac = createHmac('sha256', key);
  for (const part of parts) {
    const bytes = Buffer.from(part as string);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hmac.update(length).update(bytes);
  }
  return hmac.digest();
}

export function sameMac(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Key of one link from the token and both nonces. */
export function linkKey(token: string, clientNonce: Uint8Array, serverNonce: Uint8Array): Buffer {
  return mac(Buffer.from(token), 'revenant-link', clientNonce, serverNonce);
}

export class FrameWriter {
  readonly #key: Uint8Array;
  #position = 0;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  encode(message: Message): Buffer {
    const payload = packr.pack(message);
    if (payload.length + MAC_BYTES > MAX_FRAME_BYTES)
      throw new ClusterError(
        'PROTOCOL',
        `a ${message.type} of ${String(payload.length)} bytes is too large to send`,
      );
    const code = mac(this.#key, String(this.#position++), payload).subarray(0, MAC_BYTES);
    return Buffer.concat([code, payload]);
  }
}

export class FrameReader {
  readonly #key: Uint8Array;
  #position = 0;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Throws `PROTOCOL` for anything that is not the next frame of this link. */
  decode(frame: Uint8Array): Message {
    if (frame.length <= MAC_BYTES || frame.length > MAX_FRAME_BYTES)
      throw new ClusterError('PROTOCOL', `a frame of ${String(frame.length)} bytes`);
    const payload = frame.subarray(MAC_BYTES);
    const code = mac(this.#key, String(this.#position++), payload).subarray(0, MAC_BYTES);
    if (!sameMac(code, frame.subarray(0, MAC_BYTES)))
      throw new ClusterError('PROTOCOL', 'a frame with a wrong code: forged, repeated or out of order');
    return decodeMessage(payload);
  }
}

/** Decodes and checks one message. Throws `PROTOCOL`; never anything else, whatever the bytes. */
export function decodeMessage(payload: Uint8Array): Message {
  let value: unknown;
  try {
    value = packr.unpack(payload);
  } catch (error) {
    throw new ClusterError('PROTOCOL', 'a frame that is no msgpack', { cause: error });
  }
  if (!isMap(value) || typeof value['type'] !== 'string' || !TYPES.has(value['type']))
    throw new ClusterError('PROTOCOL', 'a message of unknown type');
  if (!wellFormed(value)) throw new ClusterError('PROTOCOL', `a malformed ${value['type']}`);
  return value as unknown as Message;
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isText = (value: unknown): boolean => typeof value === 'string' && value.length <= 4096;
const isTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.length <= 4096 && value.every(isText);
const areMaps = (value: unknown): value is Record<string, unknown>[] =>
  Array.isArray(value) && value.length <= 4096 && value.every(isMap);

function wellFormed(value: Record<string, unknown>): boolean {
  switch (value['type'] as Message['type']) {
    case 'heartbeat':
      return (
        ['incarnation', 'counter', 'term', 'revision'].every((name) => isCount(value[name])) &&
        isTexts(value['hears']) &&
        (value['master'] === null || isText(value['master'])) &&
        typeof value['ping'] === 'boolean' &&
        isView(value['view'])
      );
    case 'list': {
      const list = value['list'];
      return (
        isMap(list) &&
        isCount(list['term']) &&
        isCount(list['revision']) &&
        isVms(list['vms']) &&
        isTexts(list['maintenance']) &&
        areMaps(list['commands'])
      );
    }
    case 'released':
      return isText(value['vmId']);
    case 'prepared':
    case 'give-up':
      return isText(value['vmId']) && isCount(value['epoch']);
    case 'command':
      return isText(value['id']) && isMap(value['command']) && isText(value['command']['type']);
    case 'answer': {
      const answer = value['answer'];
      return isMap(answer) && isText(answer['id']) && (answer['error'] === null || isMap(answer['error']));
    }
  }
}

/** What was read as a node's beat is one. */
export function isStoreBeat(value: unknown, node: string): value is StoreBeat {
  return (
    isMap(value) &&
    value['id'] === node &&
    isCount(value['incarnation']) &&
    isCount(value['beats']) &&
    isView(value['view'])
  );
}

function isView(view: unknown): boolean {
  return (
    isMap(view) &&
    isCount(view['seq']) &&
    isText(view['address']) &&
    typeof view['isolated'] === 'boolean' &&
    isCount(view['stores']) &&
    isText(view['pressure']) &&
    isMap(view['capacity']) &&
    isCount(view['capacity']['memoryMiB']) &&
    areMaps(view['powerOn']) &&
    view['powerOn'].every(
      (entry) => isText(entry['vmId']) && isCount(entry['epoch']) && isCount(entry['attempt']),
    ) &&
    areMaps(view['reports']) &&
    view['reports'].every(
      (report) => isText(report['vmId']) && isCount(report['attempt']) && isText(report['reason']),
    )
  );
}

function isVms(vms: unknown): boolean {
  return (
    isMap(vms) &&
    Object.entries(vms).every(
      ([id, vm]) =>
        isMap(vm) &&
        vm['id'] === id &&
        isMap(vm['spec']) &&
        isText(vm['desired']) &&
        isText(vm['status']) &&
        isCount(vm['attempt']) &&
        (vm['assignment'] === null || (isMap(vm['assignment']) && isText(vm['assignment']['node']))),
    )
  );
}
