/**
 * Frames between nodes (docs/CLUSTER_PROTOCOL.md, "Links"): msgpack inside a 16-byte message code. The code covers direction
 * and position, under a key made of both sides' nonces: a frame can't be forged, repeated, reordered or used on another link.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { ClusterError } from '../errors.ts';
import { mac, sameMac } from '../mac.ts';
import { maxFrameBytes } from '../protocol/limits.ts';
import { decodeMessage, messageSchema, type LinkMessage } from '../protocol/link.ts';
import { encode } from '../protocol/msgpack.ts';
import { checkTold } from '../protocol/open.ts';

export const nonceBytes = 16;
const macBytes = 16;

/** Key of one link from the token and both nonces: an object, as bytes would be taken over anew for each frame. */
export function linkKey(token: string, clientNonce: Uint8Array, serverNonce: Uint8Array): KeyObject {
  return createSecretKey(mac(Buffer.from(token), 'revenant-link', clientNonce, serverNonce));
}

export class FrameWriter {
  readonly #key: KeyObject;
  #position = 0;

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** Throws `PROTOCOL` for a message that the other side would refuse: one lost message is better than a lost link. */
  encode(message: LinkMessage): Buffer {
    const payload = encode(checkTold(messageSchema, message, `a ${message.type} to send`));
    if (payload.length + macBytes > maxFrameBytes)
      throw new ClusterError(
        'PROTOCOL',
        `a ${message.type} of ${String(payload.length)} bytes is too large to send`,
      );
    const code = mac(this.#key, String(this.#position++), payload).subarray(0, macBytes);
    return Buffer.concat([code, payload]);
  }
}

export class FrameReader {
  readonly #key: KeyObject;
  #position = 0;

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** Undefined for a message of a kind that this release does not know. Throws `PROTOCOL` for anything that is not the next frame of this link. */
  decode(frame: Uint8Array): LinkMessage | undefined {
    if (frame.length <= macBytes || frame.length > maxFrameBytes)
      throw new ClusterError('PROTOCOL', `a frame of ${String(frame.length)} bytes`);
    const payload = frame.subarray(macBytes);
    const code = mac(this.#key, String(this.#position++), payload).subarray(0, macBytes);
    if (!sameMac(code, frame.subarray(0, macBytes)))
      throw new ClusterError('PROTOCOL', 'a frame with a wrong code: forged, repeated or out of order');
    return decodeMessage(payload);
  }
}
