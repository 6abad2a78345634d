/** `revenant vm disk export`. */
import { inspecting, storeOptions } from '../../../checkpoint/opener.ts';
import { diskIn, exportDisk } from '../../../checkpoint/disks.ts';
import { define } from '../../../command/command.ts';
import { value } from '../../../command/options.ts';
import { oneOf } from '../../../command/values.ts';
import { Progress } from '../../../output/progress.ts';
import { bytesText } from '../../../output/text.ts';

export const command = define({
  words: ['VM[@WHICH]', 'DISK', 'FILE'],
  about: `The disk is as a checkpoint has it (the newest one that is durable, unless another is named), what its guest has not flushed left out as after a
loss of power. What is zero takes no room in the file.`,
  options: {
    format: value('FORMAT', 'qcow2 (default) or raw', oneOf(['qcow2', 'raw'] as const), 'qcow2' as const),
    ...storeOptions,
  },
  examples: [
    'vm disk export db disk0 db.qcow2 --store file:/srv/revenant',
    'vm disk export db@12 disk0 db.img --format raw --store file:/srv/revenant',
  ],
  async run(input) {
    const [word, name, path] = [input.word(0), input.word(1), input.word(2)];
    await inspecting(input.options, async (opener) => {
      const reader = await opener.checkpoint(word);
      const disk = diskIn(reader, name);
      const progress = new Progress(path);
      const { format } = input.options;
      try {
        const fileBytes = await exportDisk({ reader, disk, path, format, onProgress: progress.update });
        progress.done();
        input.show(
          { vm: reader.vmId, disk: name, file: path, format, bytes: disk.bytes, fileBytes },
          () => `${name} of ${reader.vmId} (${bytesText(disk.bytes)}) is in ${path}`,
        );
      } finally {
        progress.done();
      }
    });
    return undefined;
  },
});
