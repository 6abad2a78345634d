/**
 * The framing of GDB's remote serial protocol ("Debugging with GDB", appendix E.1): `$data#checksum`, acknowledged by + or - until both
 * sides agree not to; `}` escapes. Pure: bytes in, events out.
 */
export type WireEvent =
  | { kind: 'packet'; bytes: Uint8Array }
  /** Ctrl-C: a single 03h between packets. */
  | { kind: 'interrupt' }
  /** `-`: the other side wants our last packet again. */
  | { kind: 'again' }
  /** A packet whose checksum is wrong. */
  | { kind: 'damaged' }
  /** No packet is as long as this: whoever sends it speaks another protocol. */
  | { kind: 'overlong' };

/** What `qSupported` promises. */
export const maxPacketBytes = 0x4000;

const [dollar, hash, escape, interrupt, minus] = [0x24, 0x23, 0x7d, 3, 0x2d];

function hexDigit(byte: number): number {
  return Number.parseInt(String.fromCharCode(byte), 16);
}

export class PacketReader {
  #rest = new Uint8Array(0);

  /** Events in what has come so far; a packet that is not whole waits for the rest. */
  push(bytes: Uint8Array): WireEvent[] {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const events: WireEvent[] = [];
    let at = 0;
    while (at < all.length) {
      const byte = all[at];
      if (byte === interrupt) events.push({ kind: 'interrupt' });
      else if (byte === minus) events.push({ kind: 'again' });
      if (byte !== dollar) {
        at++;
        continue;
      }
      const end = all.indexOf(hash, at + 1);
      if (end < 0 || end + 2 >= all.length) break;
      events.push(decode(all.subarray(at + 1, end), all.subarray(end + 1, end + 3)));
      at = end + 3;
    }
    this.#rest = all.slice(at);
    if (this.#rest.length > 2 * maxPacketBytes + 16) {
      this.#rest = new Uint8Array(0);
      events.push({ kind: 'overlong' });
    }
    return events;
  }
}

function decode(body: Uint8Array, sum: Uint8Array): WireEvent {
  const expected = hexDigit(sum[0] ?? 0) * 16 + hexDigit(sum[1] ?? 0);
  if (body.reduce((total, byte) => (total + byte) & 0xff, 0) !== expected) return { kind: 'damaged' };
  const bytes: number[] = [];
  for (let n = 0; n < body.length; n++) {
    const byte = body[n] ?? 0;
    bytes.push(byte === escape ? (body[++n] ?? 0) ^ 0x20 : byte);
  }
  return { kind: 'packet', bytes: Uint8Array.from(bytes) };
}

/** A packet with its frame. */
export function encodePacket(data: Uint8Array): Uint8Array {
  const out: number[] = [dollar];
  for (const byte of data) {
    if (byte === dollar || byte === hash || byte === escape || byte === 0x2a) out.push(escape, byte ^ 0x20);
    else out.push(byte);
  }
  const sum = out.slice(1).reduce((total, byte) => (total + byte) & 0xff, 0);
  out.push(hash, ...Buffer.from(sum.toString(16).padStart(2, '0'), 'latin1'));
  return Uint8Array.from(out);
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Bytes of a hexadecimal text; undefined when it is none. */
export function bytesOf(hex: string): Uint8Array | undefined {
  return hex.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(hex) ? Buffer.from(hex, 'hex') : undefined;
}
