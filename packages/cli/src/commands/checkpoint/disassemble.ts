/** `revenant checkpoint disassemble`. */
import { disassembleAt, GuestMemory } from '@revenant/debugger/inspect';
import type { Disassembled } from '@revenant/emulator';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag, value } from '../../command/options.ts';
import { address, oneOf, wholeNumber } from '../../command/values.ts';
import { table } from '../../output/print.ts';
import { hex } from '../../output/text.ts';

const modes = { 16: 16, 32: 32, 64: 64 } as const;

function text(lines: readonly Disassembled[], here: bigint): string {
  return table(
    ['', 'ADDRESS', 'BYTES', 'INSTRUCTION'],
    lines.map((line) => [
      line.address === here ? '>' : '',
      line.address.toString(16).padStart(8, '0'),
      Buffer.from(line.bytes).toString('hex'),
      line.text,
    ]),
  );
}

export const command = define({
  words: ['CHECKPOINT', '[ADDRESS]'],
  about: 'Without ADDRESS: at CS:RIP. The instruction there is marked.',
  options: {
    count: value('N', 'so many instructions (default 16)', wholeNumber(1, 100_000), 16),
    bits: value(
      '16|32|64',
      'what kind of code it is (default: as the processor is set)',
      oneOf(['16', '32', '64']),
    ),
    physical: flag('ADDRESS is physical'),
    ...storeOptions,
  },
  examples: [
    'checkpoint disassemble vm1 --store file:/srv/revenant',
    'checkpoint disassemble ./linux.checkpoint 0xffffffff81000000 --count 8',
  ],
  async run(input) {
    const { count, bits, physical } = input.options;
    const [word, at] = input.words;
    const wanted = at === undefined ? undefined : address(at, 'ADDRESS');
    await inspecting(input.options, async (opener) => {
      const memory = new GuestMemory(await opener.checkpoint(word ?? ''));
      const { lines, here } = await disassembleAt(memory, {
        address: wanted,
        physical,
        bits: bits === undefined ? undefined : modes[bits],
        count,
      });
      const json = lines.map((line) => ({
        ...line,
        address: hex(line.address),
        ...(line.target === undefined ? {} : { target: hex(line.target) }),
      }));
      input.show(json, () => text(lines, here));
    });
    return undefined;
  },
});
