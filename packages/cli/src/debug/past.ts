/** A moment of a VM's past under a debugger: a checkpoint of a store, and the log behind it. The living VM is not touched. */
import { Opener, parseTarget } from '../checkpoint/opener.ts';
import { Past } from '../replay/past.ts';
import type { OpenOptions, OpenTarget } from './open.ts';

/** `word` as VM or VM@CHECKPOINT. Throws CliError. */
export async function openPast(
  word: string,
  url: string,
  { say, console }: Pick<OpenOptions, 'say' | 'console'>,
): Promise<OpenTarget> {
  const opener = new Opener(url);
  try {
    const { vmId, which } = parseTarget(word);
    const past = await Past.open(opener, vmId);
    const moment = which === undefined ? past.newest : past.named(which);
    const run = await past.run(moment, { say, debugged: true, ...(console && { console }) });
    const { end, count } = run.target;
    say(
      end === undefined
        ? `${moment.name}: no log was kept behind it, so it goes on by itself`
        : `${moment.name}: what came in is known for ${String(end - count)} instructions`,
    );
    return {
      target: run.target,
      close: async () => {
        await run.close();
        await opener.close();
      },
    };
  } catch (error) {
    await opener.close();
    throw error;
  }
}
