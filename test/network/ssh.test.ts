/**
 * OpenSSH's client in a guest of a cluster with the policy `log`: what is typed while the guest's node is killed is answered once, over the same
 * connection. Needs the image linux-server, ssh and ssh-keygen.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ClusterClient, Guardian, NodeProcess, type BootDescription } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { readImageFile, type Image } from '../../packages/cli/src/images/image.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { imageOrSkip } from '../linux/shell.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

/** The client enters by `c`, which has no room for the guest. */
const names = ['a', 'b', 'c'];
const memoryMiB = 192;
const sshAnswers = spawnSync('ssh', ['-V']).status === 0;

async function describe(client: ClusterClient, image: Image, key: string): Promise<BootDescription> {
  return {
    memoryBytes: memoryMiB * 2 ** 20,
    commandLine: `${image.manifest.commandLine} quiet ssh="${key}" run="sleep 100000"`,
    kernel: await client.putBlob(await readImageFile(image, 'kernel')),
    initrd: await client.putBlob(await readImageFile(image, 'initrd')),
  };
}

/** A shell in the guest, by one connection. */
class Session {
  readonly #ssh;
  #heard = '';

  constructor(options: readonly string[]) {
    this.#ssh = spawn('ssh', [...options, 'sh'], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#ssh.stdout.setEncoding('utf8').on('data', (text: string) => (this.#heard += text));
  }

  get heard(): string {
    return this.#heard;
  }

  /** Letter by letter, as a person types. */
  async type(line: string): Promise<void> {
    for (const letter of `${line}\n`) {
      this.#ssh.stdin.write(letter);
      await sleep(20);
    }
  }

  async hears(text: string): Promise<void> {
    await until(text, () => {
      assert.equal(this.#ssh.exitCode, null, `ssh has ended; it heard:\n${this.#heard}`);
      return this.#heard.includes(text);
    });
  }

  close(): void {
    this.#ssh.kill('SIGKILL');
  }
}

it('an ssh session goes on through kill -9 of the node that runs its guest', async (context) => {
  if (!sshAnswers) {
    context.skip('needs the ssh client');
    return;
  }
  const image = await imageOrSkip(context, 'linux-server');
  if (image === undefined) return;
  buildModules(() => undefined);
  const folder = mkdtempSync(join(tmpdir(), 'revenant-ssh-'));
  const guardian = await Guardian.start();
  guardian.remove(folder);
  const store = `file:${folder}/store`;
  const start = (name: string): Promise<NodeProcess> =>
    NodeProcess.start({
      store,
      name,
      profile: 'default',
      logFile: join(folder, `${name}.log`),
      guardian,
      words: ['--memory-mib', name === 'c' ? '64' : '1024'],
    });
  const nodes = new Map(await Promise.all(names.map(async (name) => [name, await start(name)] as const)));
  const client = new ClusterClient({ store, answerMs });
  let session: Session | undefined;
  try {
    await until('three nodes', async () => {
      const known = await client.status().catch(() => undefined);
      return known?.nodes.filter(({ state }) => state === 'alive').length === names.length;
    });
    const [port = 0] = await freePorts(1);
    const key = join(folder, 'key');
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', key]);
    const subnet = { subnet: '10.64.0.0/16', outbound: false, guard: true, hostPorts: [] };
    await client.command({ type: 'network-create', network: 'lan', spec: subnet });
    const description = await describe(client, image, readFileSync(`${key}.pub`, 'utf8').trim());
    const publish = [{ on: 'c', protocol: 'tcp' as const, port, guestPort: 22 }];
    const spec = {
      runtime: 'machine',
      description,
      memoryMiB,
      priority: 1,
      outputs: 'log' as const,
      network: { name: 'lan', publish },
    };
    await client.command({ type: 'vm-create', vmId: 'shell', spec, start: true });
    const options = [
      '-i',
      key,
      '-p',
      String(port),
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      'UserKnownHostsFile=/dev/null',
      '-o',
      'LogLevel=ERROR',
      '-o',
      'BatchMode=yes',
      'root@127.0.0.1',
    ];
    await until('sshd', () =>
      promisify(execFile)('ssh', [...options, 'true']).then(
        () => true,
        () => sleep(1000).then(() => false),
      ),
    );
    session = new Session(options);
    await session.type('echo before $((6 * 7))');
    await session.hears('before 42\n');
    const holder = (await client.waitFor('shell', ['running'])).assignment!.node;
    await session.type('x=$((x + 1)); echo first $x');
    nodes.get(holder)!.kill();
    await session.type('x=$((x + 1)); echo second $x');
    await session.hears('second 2\n');
    assert.notEqual((await client.waitFor('shell', ['running'])).assignment!.node, holder);
    await session.type('x=$((x + 1)); echo third $x');
    await session.hears('third 3\n');
    assert.equal(session.heard, 'before 42\nfirst 1\nsecond 2\nthird 3\n');
  } finally {
    session?.close();
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
  }
});
