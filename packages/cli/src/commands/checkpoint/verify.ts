/** `checkpoint verify`: reads and checks every page, of one checkpoint or of all that a VM has. */
import {
  formatId,
  isStorageError,
  listCheckpoints,
  openCheckpoint,
  verifyCheckpoint,
} from '@revenant/storage';
import { inspecting, storeOptions, type Opener } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { ExitCode } from '../../errors.ts';
import { table } from '../../output/print.ts';
import { Progress } from '../../output/progress.ts';
import { countText } from '../../output/text.ts';

interface Verdict {
  checkpoint: string;
  intact: boolean;
  pages: number;
  damaged: string[];
  contentHash: string | undefined;
}

/** The chains of all checkpoints of a VM; they share a cache of nothing, so each page is really read. */
async function verifyAll(opener: Opener, vmId: string): Promise<Verdict[]> {
  const store = await opener.store();
  await opener.requireVm(vmId);
  const key = await opener.key();
  const verdicts: Verdict[] = [];
  for (const { id } of await listCheckpoints(store, vmId, { key })) {
    const checkpoint = `${vmId}@${formatId(id)}`;
    try {
      const reader = await openCheckpoint(store, vmId, { key, id });
      const progress = new Progress(checkpoint);
      verdicts.push({ checkpoint, ...(await verifyCheckpoint(reader, { onProgress: progress.update })) });
      progress.done();
      await reader.close();
    } catch (error) {
      if (isStorageError(error, 'CHECKPOINT_NOT_FOUND')) continue; // collected since
      if (!isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
      verdicts.push({
        checkpoint,
        intact: false,
        pages: 0,
        damaged: [error.message],
        contentHash: undefined,
      });
    }
  }
  return verdicts;
}

async function verifyOne(opener: Opener, word: string): Promise<Verdict[]> {
  const reader = await opener.checkpoint(word);
  const progress = new Progress('verify');
  const report = await verifyCheckpoint(reader, { onProgress: progress.update });
  progress.done();
  return [{ checkpoint: `${reader.vmId}@${formatId(reader.id)}`, ...report }];
}

export const command = define({
  words: ['CHECKPOINT|VM'],
  about:
    'The exit code is 4 when anything is damaged. CONTENT is a hash of state and pages: equal machines have equal ones.',
  options: { all: flag('every checkpoint of the VM, each with its whole chain'), ...storeOptions },
  examples: [
    'checkpoint verify vm1 --store file:/srv/revenant',
    'checkpoint verify vm1 --all --store file:/srv/revenant',
  ],
  async run(input) {
    const verdicts = await inspecting(input.options, (opener) =>
      input.options.all ? verifyAll(opener, input.word(0)) : verifyOne(opener, input.word(0)),
    );
    input.show(verdicts, () =>
      table(
        ['CHECKPOINT', 'RESULT', 'PAGES', 'CONTENT'],
        verdicts.map(({ checkpoint, intact, pages, damaged, contentHash }) => [
          checkpoint,
          intact ? 'intact' : 'DAMAGED',
          countText(pages),
          intact ? (contentHash ?? '') : damaged.join('; '),
        ]),
      ),
    );
    return verdicts.every(({ intact }) => intact) ? ExitCode.ok : ExitCode.badInput;
  },
});
