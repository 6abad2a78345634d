/** `revenant vm backup`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { backUpVm } from '@revenant/cluster/client';
import { openStore, PagePool, parseRetention } from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag, text, value } from '../../command/options.ts';
import { span } from '../../command/values.ts';
import { messageOf } from '../../errors.ts';
import { say } from '../../output/print.ts';
import { bytesText } from '../../output/text.ts';
import { waitingUntil } from '../../output/waiting.ts';

export const command = define({
  words: ['NAME', 'TARGET'],
  about: `Copies the VM's newest checkpoint into the store TARGET, which 'store init' makes and no cluster has. Only what TARGET lacks is copied, and its
hashes are compared afterwards. What is there are checkpoints like others: 'checkpoint list', 'verify', 'export' and 'run --restore' take them.
An encrypted VM stays so, under the same key. 'vm restore' makes a VM of it, in this cluster or another.`,
  options: {
    at: text('CHECKPOINT', 'this one, not the newest'),
    keep: value('RULES', "which copies stay, for example 'last 7, 1 per 1d for 4w' (default: all)", (rules) =>
      parseRetention(rules),
    ),
    verify: flag('read each page of the copy back, too'),
    schedule: value('PERIOD', 'go on for ever, once in each period: a number and s, m, h or d', span),
    ...storeOptions,
  },
  examples: [
    'vm backup web file:/mnt/backups --store file:/srv/revenant',
    "vm backup web file:/mnt/backups --store file:/srv/revenant --schedule 1h --keep 'last 24, 1 per 1d for 4w'",
  ],
  async run(input) {
    const [vmId, url] = [input.word(0), input.word(1)];
    const { at, keep, verify: readBack, schedule } = input.options;
    await inspecting(input.options, async (opener) => {
      const from = await opener.store();
      const to = await openStore(url, { create: false });
      const pool = new PagePool();
      const backUp = async (): Promise<void> => {
        const options = {
          ...{ key: await opener.key(), pool, readBack },
          ...(at === undefined ? {} : { checkpoint: at }),
          ...(keep === undefined ? {} : { keep }),
        };
        const made = await waitingUntil(`${vmId} is in ${url}`, () => backUpVm({ from, to, vmId }, options));
        const { record, copiedPages, totalPages, storedBytes } = made;
        const { checkpoint, from: original } = record;
        input.show(
          { vm: vmId, from: original, checkpoint, copiedPages, totalPages, storedBytes },
          () =>
            `${vmId}@${original} is ${vmId}@${checkpoint} in ${url}: ${copiedPages} of ${totalPages} pages copied, ${bytesText(storedBytes)} stored`,
        );
      };
      try {
        if (schedule === undefined) return await backUp();
        for (;;) {
          const next = performance.now() + schedule;
          // What fails once (a store that does not answer) is no reason to have no backups from then on.
          await backUp().catch((error: unknown) => say(`no backup of ${vmId}: ${messageOf(error)}`));
          await sleep(Math.max(0, next - performance.now()));
        }
      } finally {
        await pool.close();
        await to.close();
      }
    });
    return undefined;
  },
});
