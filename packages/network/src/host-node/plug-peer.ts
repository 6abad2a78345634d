/**
 * What VDE's `vde_plug` (Debian: vdeplug) reaches: a switch of VDE, and, by its modules, a tap device of the host, VXLAN and others. It is
 * started as a program of its own, and speaks VDE's stream framing: each frame behind two bytes of length, on its standard input and output.
 *
 * Seen with vdeplug 4.0.1: what it reads at once, at most 9,234 bytes, may end anywhere but between the two bytes of a length: it forgets
 * the first of them, and takes what follows for lengths. Behind units of even length no such end can come, as all that is read is even then.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { StreamPeer, StreamPeerError, type Framing, type StreamPeerOptions } from './stream-peer.ts';

/** MAXPACKET of libvdeplug is 1,521. */
export const vdeFraming: Framing = { lengthBytes: 2, maxFrameBytes: 1521, even: true };
/** A plug that finds no place to go to ends at once; one that does says nothing. */
const refusedMs = 300;
/** Of what it says when it ends. */
const maxSaidBytes = 1000;

const plugProgram = 'vde_plug';

/**
 * Plugs into a place by its VDE name: the folder of a switch, `vde:///run/switch`, `tap://tap0` …
 * @throws StreamPeerError when there is no such program, or it ends at once
 */
export async function plugInto(place: string, options: StreamPeerOptions): Promise<StreamPeer> {
  const plug = spawn(plugProgram, ['--', place], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  plug.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-maxSaidBytes);
  });
  const ended = once(plug, 'close').then(
    () => whyEnded(plug, said),
    (error: unknown) => noProgram(error as NodeJS.ErrnoException),
  );
  // Frames that come before somebody listens stay in the pipe.
  const stands = new Promise<undefined>((resolve) => setTimeout(resolve, refusedMs, undefined));
  const why = await Promise.race([ended, stands]);
  if (why !== undefined) throw new StreamPeerError(why);
  const peer = new StreamPeer(streamOf(plug), options, vdeFraming);
  void ended.then((reason) => {
    peer.end(reason);
  });
  return peer;
}

function whyEnded(plug: ChildProcessByStdio<Writable, Readable, Readable>, said: string): string {
  const line = said.trim().split('\n').at(-1) ?? '';
  if (line !== '') return line;
  return `${plugProgram} ended by ${plug.signalCode ?? `status ${String(plug.exitCode)}`}`;
}

function noProgram(error: NodeJS.ErrnoException): string {
  return error.code === 'ENOENT'
    ? `there is no ${plugProgram}: install it (Debian: apt install vdeplug)`
    : error.message;
}

function streamOf(
  plug: ChildProcessByStdio<Writable, Readable, Readable>,
): ConstructorParameters<typeof StreamPeer>[0] {
  // What is written to a program that has ended is lost; that it ended is told by its end.
  plug.stdin.on('error', () => undefined);
  return { reader: plug.stdout, writer: plug.stdin, destroy: () => void plug.kill() };
}
