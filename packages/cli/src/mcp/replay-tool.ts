/** The tool of the MCP server that runs a VM's past again: to a time, or to where something was so. */
import * as v from 'valibot';
import { Opener } from '../checkpoint/opener.ts';
import { CliError, ExitCode } from '../errors.ts';
import { find } from '../replay/find.ts';
import { wanted, when } from '../replay/moment.ts';
import { Past, type Run } from '../replay/past.ts';
import { picture } from '../replay/picture.ts';
import { finish, goTo } from '../replay/replay.ts';
import { told, tool, vmName, type Said } from './tool.ts';

const maxConsoleLength = 16 << 10;

export const replayTool = tool('replay', {
  about: `Runs a VM's past again, exactly, on this host, without touching the VM: to a moment, or to the first at which something was so. Answers with the
instruction count and time there, what its console said on the way, and its screen. The VM keeps a log of its inputs if its output policy is log.`,
  takes: v.strictObject({
    vm: vmName,
    to: v.optional(
      told(v.string(), 'an instruction count, or a virtual time such as 12.5s; default: to the end'),
    ),
    find: v.optional(
      told(
        v.string(),
        "serial:TEXT, pc:ADDRESS, 'memory:ADDRESS changes', 'text:TEXT in ram': instead of `to`",
      ),
    ),
  }),
  changes: false,
  run: async ({ vm, to, find: sought }, { storeUrl }) => {
    const opener = new Opener(storeUrl);
    try {
      const past = await Past.open(opener, vm);
      let console = '';
      const options = {
        say: () => undefined,
        console: (bytes: Uint8Array) => {
          console = (console + Buffer.from(bytes).toString('utf8')).slice(-maxConsoleLength);
        },
      };
      if (sought !== undefined) {
        const found = await find(past, past.oldest, wanted(sought, 'find'), options);
        if (found === undefined)
          throw new CliError(ExitCode.refused, `that is nowhere in what is kept of ${vm}`);
        return await tell(found.run, console);
      }
      const target = to === undefined ? undefined : when(to, 'to');
      const start = past.before((head) =>
        target === undefined
          ? true
          : 'ns' in target
            ? head.virtualTimeNs <= target.ns
            : head.instructions <= target.count,
      );
      const run = await past.run(start, options);
      if (target === undefined) await finish(run.target.forward());
      else await goTo(run, target);
      return await tell(run, console);
    } finally {
      await opener.close();
    }
  },
});

async function tell(run: Run, console: string): Promise<Said> {
  const { machine, count } = run.target;
  try {
    const text = JSON.stringify({
      instructions: String(count),
      seconds: Number(machine.timeNs) / 1e9,
      console,
      screen: machine.screen() === undefined ? 'no text screen' : 'in the picture',
    });
    return { text, picture: picture(machine) };
  } finally {
    await run.close();
  }
}
