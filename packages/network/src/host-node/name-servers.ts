/** Questions to the host's own name servers: each from a port and with a number of its own, so that nobody else can answer. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { isIPv6 } from 'node:net';
import { copyOf, get16, set16 } from '../wire/bytes.ts';

const patienceMs = 3000;
const maxServers = 3;

/** The servers that the host uses, with their ports. */
export function nameServers(): { host: string; port: number }[] {
  return getServers()
    .slice(0, maxServers)
    .map((server) => {
      const parts = /^\[?([^\]]+?)\]?(?::(\d+))?$/.exec(server);
      if (isIPv6(server) || parts === null) return { host: server, port: 53 };
      return { host: parts[1]!, port: Number(parts[2] ?? 53) };
    });
}

/** The answer of the first server that gives one; undefined when none does. */
export async function askServers(query: Uint8Array): Promise<Uint8Array | undefined> {
  for (const server of nameServers()) {
    const answer = await ask(server, query);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function ask(
  { host, port }: { host: string; port: number },
  query: Uint8Array,
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    const done = (answer: Uint8Array | undefined): void => {
      clearTimeout(timer);
      socket.removeAllListeners().on('error', () => undefined);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(done, patienceMs, undefined);
    timer.unref();
    const own = copyOf(query);
    const number = randomInt(0x1_0000);
    set16(own, 0, number);
    socket.on('error', () => {
      done(undefined);
    });
    // A connected socket takes datagrams of its server only, and hears of a refusal.
    socket.connect(port, host, () => {
      socket.on('message', (message) => {
        if (message.length >= 12 && get16(message, 0) === number) done(copyOf(message));
      });
      socket.send(own);
    });
  });
}
