/** `--vnc` and what belongs to it: who may see and use the display of a guest. */
import { readFileSync } from 'node:fs';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import type { Parser } from '../command/options.ts';
import { maxPasswordBytes } from '../vnc/handshake.ts';
import type { VncOptions, VncPlace, VncServer } from '../vnc/server.ts';

export interface VncOption {
  place: VncPlace;
  web?: VncPlace;
  passwordFile?: string;
}

const loopback = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

function usage(message: string, hint: string): CliError {
  return new CliError(ExitCode.usage, message, hint);
}

export const parseVncPlace: Parser<VncPlace> = (text, name) => {
  const [, bracketed, plain, digits = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > 65_535)
    throw usage(`${name}: '${text}' is not HOST:PORT`, `for example ${name} 127.0.0.1:5900`);
  return { host, port: Number(digits) };
};

/** What was asked for. Throws CliError for what would let strangers in. */
export function vncRequest(values: {
  vnc: VncPlace | undefined;
  'vnc-web': VncPlace | undefined;
  'vnc-password-file': string | undefined;
}): VncOption | undefined {
  const { vnc: place, 'vnc-web': web, 'vnc-password-file': passwordFile } = values;
  if (place === undefined) {
    if (web === undefined && passwordFile === undefined) return undefined;
    throw usage(
      `${web === undefined ? '--vnc-password-file' : '--vnc-web'}: there is no VNC`,
      'add --vnc 127.0.0.1:5900',
    );
  }
  const hint = 'write one into a file that only you can read, and give it with --vnc-password-file FILE';
  if (passwordFile === undefined && !loopback.test(place.host))
    throw usage(`--vnc: anybody could use the guest at ${place.host} without a password`, hint);
  // Any page that is open in a browser here can reach loopback.
  if (passwordFile === undefined && web !== undefined)
    throw usage('--vnc-web: any web page could use the guest without a password', hint);
  return {
    place,
    ...(web === undefined ? {} : { web }),
    ...(passwordFile === undefined ? {} : { passwordFile }),
  };
}

/** Throws CliError. */
export function readPassword(path: string): Uint8Array {
  let password: Buffer;
  try {
    password = readFileSync(path);
  } catch (error) {
    throw new CliError(
      ExitCode.badInput,
      `--vnc-password-file: can't read '${path}': ${messageOf(error)}`,
      'check the path',
      error,
    );
  }
  const bytes = Buffer.from(password.toString('latin1').replace(/\r?\n$/, ''), 'latin1');
  if (bytes.length >= 1 && bytes.length <= maxPasswordBytes) return bytes;
  throw new CliError(
    ExitCode.badInput,
    `--vnc-password-file: the password in '${path}' has ${String(bytes.length)} characters`,
    `VNC's passwords have one to ${String(maxPasswordBytes)}: viewers cut longer ones`,
  );
}

/** Serves what was asked for, and says where. Throws CliError. */
export async function listenForViewers(
  { place, web, passwordFile }: VncOption,
  options: Omit<VncOptions, 'place' | 'web' | 'password'>,
): Promise<VncServer> {
  const password = passwordFile === undefined ? undefined : readPassword(passwordFile);
  try {
    // It brings the libraries of HTTP and WebSockets.
    const { VncServer } = await import('../vnc/server.ts');
    const vnc = await VncServer.listen({ ...options, place, web, password });
    const [address = '', webAddress] = vnc.addresses;
    const ofPages = webAddress === undefined ? '' : `, for web pages at ws://${webAddress}`;
    options.say(`VNC at ${address}${ofPages}`);
    return vnc;
  } catch (error) {
    throw new CliError(
      ExitCode.unavailable,
      `--vnc: can't listen on ${place.host}:${String(place.port)}: ${messageOf(error)}`,
      'choose another port',
      error,
    );
  }
}
