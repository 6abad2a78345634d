/** `revenant debug hot`: the regions of translated code in which a run spends its time. */
import { define } from '../../command/command.ts';
import { flag, jsonOption, value } from '../../command/options.ts';
import { count, wholeNumber } from '../../command/values.ts';
import { findHot, hotText } from '../../debug/hot.ts';
import { guestOptions, guestRequest, parseSerial } from '../../run/options.ts';

const defaultLines = 24;

export const command = define({
  words: ['[IMAGE]'],
  about: `Runs a guest on the translator for a while and lists the regions of translated code in which the time went: guest addresses,
guest code, share of the time (sampled), bytes of generated WebAssembly. Idle time of the guest is skipped.`,
  options: {
    instructions: value(
      'N',
      'how long to run (default 1000000000); the run may end before by itself',
      count,
      1_000_000_000n,
    ),
    top: value('N', 'how many regions (default 10)', wholeNumber(1, 100_000), 10),
    full: flag(`all of their code, not only the first ${defaultLines} lines of each`),
    ...guestOptions,
    serial: value('stdio|none', "stdio shows the guest's console on stderr (default none)", parseSerial),
    json: jsonOption,
  },
  examples: [
    'debug hot linux-cloud',
    `debug hot linux-i386 --append 'run="gzip -c /bin/busybox"' --instructions 2000000000 --top 3`,
    'debug hot --restore linux.checkpoint --json',
  ],
  async run(input) {
    const { instructions, top, full, serial = { kind: 'none' as const } } = input.options;
    const request = guestRequest(input.options, input.words[0]);
    const found = await findHot({ ...request, serial, engine: 'translator' }, instructions, top);
    input.show(found, () => hotText(found, full ? Infinity : defaultLines).trimEnd());
    return undefined;
  },
});
