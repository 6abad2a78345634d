/**
 * How a viewer is let in: RFC 6143, 7.1 and 7.2, and the older versions 3.3 and 3.7 of appendix A's viewers. Until it is through, a stranger gets one small buffer
 * and no picture.
 */
import { createCipheriv, timingSafeEqual } from 'node:crypto';
import { challengeBytes, joined, Security, version, versionBytes, words } from './rfb.ts';

/** VNC's passwords have eight characters; what is longer would be cut without a word. */
export const maxPasswordBytes = 8;

/** 7.2.2: DES of the challenge by the password, whose bytes are mirrored. DES three times with one key is DES once, which OpenSSL has still. */
export function answerTo(challenge: Uint8Array, password: Uint8Array): Buffer {
  const key = Buffer.alloc(maxPasswordBytes);
  password.forEach((byte, n) => {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) key[n] = (key[n] ?? 0) | (0x80 >> bit);
  });
  const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null);
  cipher.setAutoPadding(false);
  return Buffer.concat([cipher.update(challenge), cipher.final()]);
}

export type Step =
  /** More bytes are needed. */
  | { kind: 'wait' }
  | { kind: 'send'; bytes: Uint8Array }
  | { kind: 'welcome'; bytes: Uint8Array }
  /** The viewer is told, and the connection ends. */
  | { kind: 'refuse'; bytes: Uint8Array; why: string };

type State = 'version' | 'security' | 'answer';

function text(words32: string): Uint8Array {
  const bytes = new TextEncoder().encode(words32);
  return joined([words([32, bytes.length]), bytes]);
}

export class Handshake {
  readonly #password: Uint8Array | undefined;
  readonly #challenge: Uint8Array;
  #state: State = 'version';
  #minor = 8;

  /** @param challenge random bytes, used once */
  constructor(password: Uint8Array | undefined, challenge: Uint8Array) {
    this.#password = password;
    this.#challenge = challenge;
  }

  static get greeting(): Uint8Array {
    return new TextEncoder().encode(version);
  }

  /** How many bytes the next step takes. */
  get wanted(): number {
    return { version: versionBytes, security: 1, answer: challengeBytes }[this.#state];
  }

  /** Takes exactly the wanted bytes. */
  take(bytes: Uint8Array): Step {
    switch (this.#state) {
      case 'version':
        return this.#takeVersion(bytes);
      case 'security':
        return this.#takeSecurity(bytes[0] ?? 0);
      default:
        return this.#takeAnswer(bytes);
    }
  }

  get #type(): number {
    return this.#password === undefined ? Security.none : Security.vncAuthentication;
  }

  #takeVersion(bytes: Uint8Array): Step {
    const [, minor] = /^RFB 003\.(00[3-9]|889)\n$/.exec(Buffer.from(bytes).toString('latin1')) ?? [];
    if (minor === undefined) return { kind: 'refuse', bytes: new Uint8Array(0), why: 'it speaks no RFB 3' };
    this.#minor = Number(minor) >= 8 ? 8 : Number(minor) === 7 ? 7 : 3;
    if (this.#minor > 3) {
      this.#state = 'security';
      return { kind: 'send', bytes: words([8, 1], [8, this.#type]) };
    }
    // 3.3: the server decides.
    const decided = words([32, this.#type]);
    if (this.#password === undefined) return { kind: 'welcome', bytes: decided };
    this.#state = 'answer';
    return { kind: 'send', bytes: joined([decided, this.#challenge]) };
  }

  #takeSecurity(type: number): Step {
    if (type !== this.#type) return this.#refuse('it chose a way in that was not offered');
    if (this.#password === undefined)
      return { kind: 'welcome', bytes: this.#minor === 8 ? words([32, 0]) : new Uint8Array(0) };
    this.#state = 'answer';
    return { kind: 'send', bytes: this.#challenge };
  }

  #takeAnswer(answer: Uint8Array): Step {
    const right = answerTo(this.#challenge, this.#password ?? new Uint8Array(0));
    if (!timingSafeEqual(right, answer)) return this.#refuse('the password is wrong');
    return { kind: 'welcome', bytes: words([32, 0]) };
  }

  #refuse(why: string): Step {
    const failed = words([32, 1]);
    return { kind: 'refuse', bytes: this.#minor === 8 ? joined([failed, text(why)]) : failed, why };
  }
}
