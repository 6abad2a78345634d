/** `revenant checkpoint registers`. */
import { cpuOf, decodeRegisters, registersText } from '@revenant/debugger/inspect';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { value } from '../../command/options.ts';
import { wholeNumber } from '../../command/values.ts';

export const command = define({
  words: ['CHECKPOINT'],
  options: { cpu: value('N', 'which processor (default 0)', wholeNumber(), 0), ...storeOptions },
  examples: ['checkpoint registers vm1@12 --store file:/srv/revenant'],
  async run(input) {
    await inspecting(input.options, async (opener) => {
      const cpu = cpuOf(await opener.checkpoint(input.word(0)), input.options.cpu);
      input.show(decodeRegisters(cpu), () => registersText(cpu));
    });
    return undefined;
  },
});
