/**
 * A Linux guest with a network card for the chaos run: it counts its requests in a file and answers each with the count (`AnswerChecker`). Its
 * port is published by every node.
 */
import type { BootDescription, ClusterClient, OutputPolicy, VmSpec } from '@revenant/cluster';
import { readImageFile, type Image } from '../../packages/cli/src/images/image.ts';

export const countingNetwork = 'chaos';
const memoryMiB = 96;
const guestPort = 7;

const script = `
cat >/srv/count <<'END'
exec 9</srv/lock
while read -r asked; do
  flock 9
  read -r n </srv/n
  n=$((n + 1))
  echo $n >/srv/n
  flock -u 9
  echo $asked $n
done
END
echo 0 >/srv/n
: >/srv/lock
exec nc -ll -p ${guestPort} -e sh /srv/count
`;

export async function makeCountingSpec(
  client: ClusterClient,
  image: Image,
  { outputs, ports }: { outputs: OutputPolicy; ports: ReadonlyMap<string, number> },
): Promise<VmSpec> {
  const run = `echo ${Buffer.from(script).toString('base64')} | base64 -d | sh`;
  const description: BootDescription = {
    memoryBytes: memoryMiB * 2 ** 20,
    commandLine: `${image.manifest.commandLine} quiet run="${run}"`,
    kernel: await client.putBlob(await readImageFile(image, 'kernel')),
    initrd: await client.putBlob(await readImageFile(image, 'initrd')),
  };
  const publish = [...ports].map(([on, port]) => ({ on, protocol: 'tcp' as const, port, guestPort }));
  return {
    ...{ runtime: 'machine', description, memoryMiB, priority: 1, outputs },
    network: { name: countingNetwork, publish },
  };
}
