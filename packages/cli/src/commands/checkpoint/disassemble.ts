/** `revenant checkpoint disassemble`. */
import { disassemble, type Disassembled } from '@revenant/emulator';
import { GuestMemory } from '../../checkpoint/guest-memory.ts';
import { readAt } from '../../checkpoint/memory-at.ts';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { operatingMode } from '../../checkpoint/registers.ts';
import { define } from '../../command/command.ts';
import { flag, value } from '../../command/options.ts';
import { address, oneOf, wholeNumber } from '../../command/values.ts';
import { table } from '../../output/print.ts';
import { hex } from '../../output/text.ts';

const maxInstructionBytes = 15;
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
  summary: 'instructions at an address, or where the processor stands',
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
      const { cpu } = memory;
      const mode = operatingMode(cpu).bits;
      const here = BigInt.asUintN(64, (mode === 64 ? 0n : cpu.segments.cs.base) + cpu.rip);
      const start = wanted ?? here;
      const { bytes } = await readAt(memory, {
        address: start,
        length: count * maxInstructionBytes,
        physical,
      });
      const lines = [...disassemble(bytes, bits === undefined ? mode : modes[bits], start, count)];
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
