/** `revenant checkpoint import`. */
import {
  CheckpointFileSource,
  formatId,
  importCheckpointFile,
  raiseEpoch,
  readOwner,
  releaseOwnership,
} from '@revenant/storage';
import { inspecting, storeOptions, type Opener } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { waitingUntil } from '../../output/waiting.ts';

/** @returns the checkpoint that the file became */
async function importFile(opener: Opener, path: string, vmId: string, takeOver: boolean): Promise<string> {
  const store = await opener.store({ write: true });
  const key = await opener.key();
  const owner = (await readOwner(store, vmId))?.record;
  if (owner !== undefined && owner.state !== 'deleted' && !takeOver)
    throw new CliError(
      ExitCode.refused,
      `${store.url} has a VM '${vmId}' already`,
      'choose another name, or take it over with --take-over',
    );
  // A file that can't be read must not have cost the owner its epoch.
  const source = await CheckpointFileSource.open(path);
  try {
    const revive = owner?.state === 'deleted';
    const ownership = await raiseEpoch(store, vmId, { owner: 'import', key, revive });
    const { id } = await importCheckpointFile(store, ownership, source, { key });
    await releaseOwnership(store, ownership);
    return `${vmId}@${formatId(id)}`;
  } finally {
    await source.close();
  }
}

export const command = define({
  words: ['FILE', 'VM'],
  options: {
    'take-over': flag(
      "the VM exists: end its owner's epoch (a node that runs it stops it) and go on from the file",
    ),
    ...storeOptions,
  },
  examples: ['checkpoint import linux.checkpoint vm2 --store file:/srv/revenant'],
  async run(input) {
    const [path, vmId] = [input.word(0), input.word(1)];
    const checkpoint = await inspecting(input.options, (opener) =>
      waitingUntil(`${path} is in the store`, () =>
        importFile(opener, path, vmId, input.options['take-over']),
      ),
    );
    input.show({ checkpoint }, () => `${path} is ${checkpoint}`);
    return undefined;
  },
});
