/** `checkpoint verify`: reads and checks every page, of one checkpoint or of all that a VM has. */
import {
  formatId,
  isStorageError,
  listCheckpoints,
  openCheckpoint,
  verifyCheckpoint,
} from '@revenant/storage';
import { ExitCode } from '../errors.ts';
import { table, type CheckpointCommand, type Context } from './context.ts';
import { countText } from './list.ts';

interface Verdict {
  checkpoint: string;
  intact: boolean;
  pages: number;
  damaged: string[];
  contentHash: string | undefined;
}

/** The chains of all checkpoints of a VM; they share a cache of nothing, so each page is really read. */
async function verifyAll(context: Context, vmId: string): Promise<Verdict[]> {
  const store = await context.opener.store();
  await context.opener.requireVm(vmId);
  const key = await context.opener.key();
  const verdicts: Verdict[] = [];
  for (const { id } of await listCheckpoints(store, vmId, { key })) {
    const checkpoint = `${vmId}@${formatId(id)}`;
    try {
      const reader = await openCheckpoint(store, vmId, { key, id });
      const progress = context.progress(checkpoint);
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

async function verifyOne(context: Context): Promise<Verdict[]> {
  const reader = await context.checkpoint();
  const progress = context.progress('verify');
  const report = await verifyCheckpoint(reader, { onProgress: progress.update });
  progress.done();
  return [{ checkpoint: `${reader.vmId}@${formatId(reader.id)}`, ...report }];
}

export const command: CheckpointCommand = {
  summary: 'read and check every page of a checkpoint, or of all of a VM',
  usage: 'verify CHECKPOINT|VM --all [--json]',
  details: `  --all            every checkpoint of the VM, each with its whole chain

The exit code is 4 when anything is damaged. CONTENT is a hash of state and pages: equal machines have equal ones.

Examples:
  revenant checkpoint verify vm1 --store file:/srv/revenant
  revenant checkpoint verify vm1 --all --store file:/srv/revenant`,
  options: { all: { type: 'boolean' } },
  async run(context) {
    context.atMost(1);
    const verdicts = context.flag('all')
      ? await verifyAll(context, context.word(0, 'a VM'))
      : await verifyOne(context);
    context.show(verdicts, () =>
      table(
        ['CHECKPOINT', 'RESULT', 'PAGES', 'CONTENT'],
        verdicts.map(({ checkpoint, intact, pages, damaged, contentHash }) => [
          checkpoint, intact ? 'intact' : 'DAMAGED', countText(pages), intact ? (contentHash ?? '') : damaged.join('; '),
        ]), // prettier-ignore
      ),
    );
    return verdicts.every(({ intact }) => intact) ? ExitCode.ok : ExitCode.badInput;
  },
};
