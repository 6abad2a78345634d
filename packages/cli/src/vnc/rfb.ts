/** Names of the remote framebuffer protocol: RFC 6143, and the community's "The RFB Protocol" (rfbproto) for what came after it. */

export const version = 'RFB 003.008\n';
export const versionBytes = 12;

/** RFC 6143, 7.1.2. */
export const Security = { invalid: 0, none: 1, vncAuthentication: 2 } as const;
export const challengeBytes = 16;

/** RFC 6143, 7.5, and rfbproto's additions. */
// prettier-ignore
export const ClientMessage = {
  setPixelFormat: 0, setEncodings: 2, updateRequest: 3, key: 4, pointer: 5, cutText: 6, setDesktopSize: 251, qemu: 255,
} as const;
/** Of `ClientMessage.qemu`: "QEMU Extended Key Event Message". */
export const QemuMessage = { extendedKey: 0 } as const;
export const ServerMessage = { update: 0 } as const;

/** RFC 6143, 7.7 and 7.8, and rfbproto's additions. */
// prettier-ignore
export const Encoding = {
  raw: 0, copyRect: 1, zlib: 6, tight: 7, desktopSize: -223, cursor: -239, qemuExtendedKey: -258, extendedDesktopSize: -308,
} as const;

/** Of an ExtendedDesktopSize rectangle: who asked for the change, and how it went. */
export const SizeReason = { server: 0, client: 1 } as const;
export const SizeStatus = { done: 0, prohibited: 1 } as const;

export interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The part that both have; undefined when there is none. */
export function overlap(one: Area, other: Area): Area | undefined {
  const [x, y] = [Math.max(one.x, other.x), Math.max(one.y, other.y)];
  const width = Math.min(one.x + one.width, other.x + other.width) - x;
  const height = Math.min(one.y + one.height, other.y + other.height) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : undefined;
}

/** Writes big-endian numbers one after the other. */
export function words(...values: readonly (readonly [bits: 8 | 16 | 32, value: number])[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((sum, [bits]) => sum + bits / 8, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [bits, value] of values) {
    if (bits === 8) view.setUint8(at, value);
    else if (bits === 16) view.setUint16(at, value);
    else view.setUint32(at, value);
    at += bits / 8;
  }
  return bytes;
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A rectangle's header. */
export function rectangle({ x, y, width, height }: Area, encoding: number): Uint8Array {
  return words([16, x], [16, y], [16, width], [16, height], [32, encoding]);
}
