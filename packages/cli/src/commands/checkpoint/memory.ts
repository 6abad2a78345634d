/** `revenant checkpoint memory`. */
import { GuestMemory, readAt } from '@revenant/debugger/inspect';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { address, wholeNumber } from '../../command/values.ts';
import { say } from '../../output/print.ts';
import { hex } from '../../output/text.ts';

const maxBytes = 16 << 20;

/** `address  16 bytes  |text|`, repeated lines left out. */
export function hexDump(start: bigint, bytes: Uint8Array): string {
  const lines: string[] = [];
  let before = '';
  let left = false;
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const digits = Array.from(row, (byte) => byte.toString(16).padStart(2, '0'));
    const text = Array.from(row, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.',
    ).join('');
    const body = digits.join(' ');
    const last = at + 16 >= bytes.length;
    if (body === before && !last) {
      if (!left) lines.push('*');
      left = true;
      continue;
    }
    left = false;
    before = body;
    const halves = `${digits.slice(0, 8).join(' ')}  ${digits.slice(8).join(' ')}`;
    lines.push(`${(start + BigInt(at)).toString(16).padStart(16, '0')}  ${halves.padEnd(48)}  |${text}|`);
  }
  return lines.join('\n');
}

export const command = define({
  words: ['CHECKPOINT', 'ADDRESS', '[LENGTH]'],
  about:
    'ADDRESS and LENGTH (default 256) are hexadecimal (0x…) or decimal. Linear addresses go through the page tables.',
  options: {
    physical: flag('ADDRESS is physical'),
    raw: flag('the bytes as they are, for a file or a pipe'),
    ...storeOptions,
  },
  examples: [
    'checkpoint memory vm1 0xffffffff81000000 64 --store file:/srv/revenant',
    'checkpoint memory ./linux.checkpoint 0x7c00 512 --physical',
  ],
  async run(input) {
    const at = address(input.word(1), 'ADDRESS');
    const length = wholeNumber(1, maxBytes)(input.words[2] ?? '256', 'LENGTH');
    await inspecting(input.options, async (opener) => {
      const memory = new GuestMemory(await opener.checkpoint(input.word(0)));
      const wanted = { address: at, length, physical: input.options.physical };
      const { bytes, physical } = await readAt(memory, wanted);
      if (input.options.raw) return void process.stdout.write(bytes);
      if (bytes.length < length)
        say(`only ${bytes.length} bytes: no memory at ${hex(at + BigInt(bytes.length))}`);
      const json = { address: hex(at), physical: physical === undefined ? null : hex(physical), bytes };
      input.show(json, () => hexDump(at, bytes));
    });
    return undefined;
  },
});
