/** `revenant checkpoint export`. */
import { statSync } from 'node:fs';
import { exportCheckpointFile, formatId } from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { cannotWrite } from '../../errors.ts';
import { Progress } from '../../output/progress.ts';
import { bytesText } from '../../output/text.ts';

const writingCodes = ['ENOENT', 'EACCES', 'ENOSPC', 'EISDIR', 'ENOTDIR', 'EROFS'];

export const command = define({
  words: ['CHECKPOINT', 'FILE'],
  about:
    "The file holds the whole machine, base images included; 'revenant run --restore FILE' goes on from it.",
  options: storeOptions,
  examples: ['checkpoint export vm1@12 vm1.checkpoint --store file:/srv/revenant'],
  async run(input) {
    const path = input.word(1);
    await inspecting(input.options, async (opener) => {
      const reader = await opener.checkpoint(input.word(0));
      const progress = new Progress('export');
      try {
        await exportCheckpointFile(reader, path, { onProgress: progress.update });
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : '';
        throw writingCodes.includes(code) ? cannotWrite(path, error) : error;
      } finally {
        progress.done();
      }
      const bytes = statSync(path).size;
      const checkpoint = `${reader.vmId}@${formatId(reader.id)}`;
      input.show(
        { checkpoint, file: path, bytes },
        () => `${checkpoint} is in ${path} (${bytesText(bytes)})`,
      );
    });
    return undefined;
  },
});
