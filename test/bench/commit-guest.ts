/** The VM of `bench -- commit`: Debian's Linux with a shell, a disk and a network card, on one of two nodes, measured from outside. */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsoleFollower, OutputPolicy } from '@revenant/cluster';
import { fetchImage, readImageFile } from '../../packages/cli/src/images/image.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import type { TestCluster } from '../chaos/harness.ts';

export const vmId = 'bench';
export const memoryMiB = 128;
const diskBytes = 64 << 20;
const echoPort = 7;
/** For what the guest must say in the end; and how often it is looked whether its time is over. */
const patienceMs = 600_000;
const lookMs = 1000;
/** A change of policy holds from the next checkpoint on, and a log serves from the one behind it. */
const settleMs = 2500;

const body = {
  /** Short processes and files, as scripts have them. */
  shell: 'ls -l /bin > /tmp/a; sort -r /tmp/a > /tmp/b; sha256sum /tmp/b > /tmp/c; rm /tmp/a /tmp/b /tmp/c',
  /** A MiB of bytes that nothing can compress, made durable on the disk. */
  disk: 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 seek=$((i % 32 * 16)) conv=fsync,notrunc 2> /dev/null',
} as const;
export type Work = keyof typeof body;

/** What the nodes counted, in sum. */
export interface Counted {
  logBytes: number;
  requests: number;
  waits: number;
  waitedSeconds: number;
}

export class CommitGuest {
  readonly #cluster: TestCluster;
  readonly #follower: ConsoleFollower;
  readonly #port: number;
  #unread = '';
  #woken = Promise.withResolvers<undefined>();

  private constructor(cluster: TestCluster, port: number) {
    this.#cluster = cluster;
    this.#port = port;
    this.#follower = cluster.client.console(vmId, (bytes) => {
      this.#unread += Buffer.from(bytes).toString('latin1');
      this.#woken.resolve(undefined);
      this.#woken = Promise.withResolvers();
    });
  }

  /** On the one node that runs so far. */
  static async boot(cluster: TestCluster): Promise<CommitGuest> {
    const { client } = cluster;
    const image = await fetchImage('linux-cloud', (line) => process.stderr.write(`${line}\n`));
    const [port = 0] = await freePorts(1);
    const [on = ''] = cluster.nodes.keys();
    const subnet = { subnet: '10.64.0.0/16', outbound: false, guard: true, hostPorts: [] };
    await client.command({ type: 'network-create', network: 'lan', spec: subnet });
    const description = {
      memoryBytes: memoryMiB << 20,
      commandLine: `${image.manifest.commandLine} quiet`,
      kernel: await client.putBlob(await readImageFile(image, 'kernel')),
      initrd: await client.putBlob(await readImageFile(image, 'initrd')),
      disks: [{ name: 'disk0', bytes: diskBytes }],
    };
    const publish = [{ on, protocol: 'tcp' as const, port, guestPort: echoPort }];
    const network = { name: 'lan', publish };
    const outputs: OutputPolicy = 'async';
    const spec = { runtime: 'machine', description, memoryMiB, priority: 1, outputs, network };
    await client.command({ type: 'vm-create', vmId, spec, start: true });
    const guest = new CommitGuest(cluster, port);
    await guest.hears('is up');
    await guest.run(`nc -ll -p ${String(echoPort)} -e cat & sleep 1`);
    await guest.run('while ! ip route | grep -q 10.64; do usleep 100000; done');
    return guest;
  }

  close(): void {
    this.#follower.close();
  }

  /** Waits until a text was heard, and forgets all up to its end. @returns when it came; NaN: not in time */
  async hears(text: string, limitMs = patienceMs): Promise<number> {
    for (const end = performance.now() + limitMs; performance.now() < end;) {
      const at = this.#unread.indexOf(text);
      if (at >= 0) {
        this.#unread = this.#unread.slice(at + text.length);
        return performance.now();
      }
      await Promise.race([this.#woken.promise, sleep(Math.min(limitMs, lookMs))]);
    }
    if (limitMs === patienceMs) throw new Error(`the guest did not say ${JSON.stringify(text)}`);
    return NaN;
  }

  type(text: string): void {
    if (!this.#follower.write(Buffer.from(text))) throw new Error('too much is typed that is not durable');
  }

  /** A command line, to its end. */
  async run(line: string): Promise<void> {
    // The shell puts the mark together, so that the echo of the line does not have it.
    this.type(`${line}\ntrue; echo do""ne\n`);
    await this.hears('done\r\n');
  }

  /** Ends what runs in the terminal's foreground. */
  async interrupt(): Promise<void> {
    // What is typed while the shell comes back to its prompt may be lost with what was interrupted.
    do {
      this.type('\u0003');
      await sleep(300);
      this.type('\ntrue; echo do""ne\n');
    } while (Number.isNaN(await this.hears('done\r\n', 2 * lookMs)));
    this.#unread = '';
  }

  /** By which policy its outputs leave from now on; resolves when that holds. */
  async setPolicy(outputs: OutputPolicy): Promise<void> {
    const { client } = this.#cluster;
    await client.command({ type: 'vm-set', vmId, outputs });
    if (outputs === 'standby') await this.isFollowed();
    await sleep(settleMs);
  }

  /** Resolves when its standby holds its log. */
  isFollowed(): Promise<void> {
    return this.#cluster.until('a standby that holds the log', async () => {
      const { condition } = await this.#cluster.client.standby(vmId).catch(() => ({ condition: undefined }));
      return condition === 'in-sync';
    });
  }

  /** So often a piece of work, one after the other. @returns how long it took, by what was heard of it, in milliseconds */
  async work(what: Work, times: number): Promise<number> {
    const loop = `i=0; while [ $i -lt ${String(times)} ]; do ${body[what]}; i=$((i + 1)); done`;
    this.type(`echo be""gin; ${loop}; echo en""d\n`);
    const began = await this.hears('begin\r\n');
    return (await this.hears('end\r\n')) - began;
  }

  /** Beside whatever is done next, until `rest`. */
  async workOn(what: Work): Promise<void> {
    const loop = `i=0; while [ ! -e /tmp/stop ]; do ${body[what]}; i=$((i + 1)); done`;
    await this.run(`rm -f /tmp/stop; (${loop}; touch /tmp/over) & true`);
  }

  async rest(): Promise<void> {
    await this.run('touch /tmp/stop; while [ ! -e /tmp/over ]; do usleep 10000; done; rm /tmp/over');
  }

  /** How long each letter took to the guest's terminal and back, typed one after the other for a while. */
  async echoes(durationMs: number): Promise<number[]> {
    // While the shell edits a line, the terminal echoes nothing by itself.
    this.type('echo ter""minal; cat > /dev/null\n');
    await this.hears('terminal\r\n');
    const times: number[] = [];
    for (const end = performance.now() + durationMs; performance.now() < end;) {
      // A line is bounded. What ends it is not measured.
      const isEnd = times.length % 64 === 63;
      const began = performance.now();
      this.type(isEnd ? '@\n' : '@');
      times.push((await this.hears('@')) - began);
      await sleep(5 + Math.random() * 20);
    }
    this.type('\n\u0004');
    await this.run('true');
    return times;
  }

  /** Requests of 64 bytes, answered by as many, over some connections for a while: how long each took. */
  async requests(connections: number, durationMs: number): Promise<number[]> {
    const times: number[] = [];
    const sockets: Socket[] = [];
    // One after the other: the guest's nc lets one wait to be taken.
    while (sockets.length < connections) {
      const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
      socket.write('hello');
      await once(socket, 'data');
      sockets.push(socket);
    }
    const end = performance.now() + durationMs;
    const one = async (socket: Socket): Promise<void> => {
      try {
        while (performance.now() < end) {
          const began = performance.now();
          socket.write(Buffer.alloc(64, 'r'));
          for (let got = 0; got < 64;) got += ((await once(socket, 'data')) as [Buffer])[0].length;
          times.push(performance.now() - began);
        }
      } finally {
        socket.destroy();
      }
    };
    await Promise.all(sockets.map(one));
    return times;
  }

  /** What the nodes have counted so far. */
  async counted(): Promise<Counted> {
    const token = readFileSync(join(this.#cluster.options.folder, 'token'), 'utf8');
    const texts = [...this.#cluster.nodes.values()].map(async ({ address }) => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(`http://${address}/metrics`, { headers })).text();
    });
    const lines = (await Promise.all(texts)).flatMap((text) => text.split('\n'));
    const sum = (name: string): number =>
      lines
        .filter((line) => line.startsWith(`revenant_${name} `) || line.startsWith(`revenant_${name}{`))
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
    return {
      logBytes: sum('vm_log_bytes_total'),
      requests: sum('store_requests_total'),
      waits: sum('output_wait_seconds_count'),
      waitedSeconds: sum('output_wait_seconds_sum'),
    };
  }
}
