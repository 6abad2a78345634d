/** `checkpoint memory` and `checkpoint disassemble`: what stands at an address, linear or physical. */
import { disassemble, type CodeMode } from '@revenant/emulator';
import { CliError, ExitCode } from '../errors.ts';
import { hex, parseAddress, table, type CheckpointCommand, type Context } from './context.ts';
import { GuestMemory } from './guest-memory.ts';
import { operatingMode } from './registers.ts';

const maxBytes = 16 << 20;
const maxInstructionBytes = 15;

interface Piece {
  address: bigint;
  physical: bigint | undefined;
  bytes: Uint8Array;
}

/** Reads as asked for; throws when there is nothing at all. */
async function readAt(
  context: Context,
  memory: GuestMemory,
  address: bigint,
  length: number,
): Promise<Piece> {
  const physical = context.flag('physical');
  const bytes = await (physical ? memory.readPhysical(address, length) : memory.read(address, length));
  const mapping = physical ? undefined : await memory.translate(address);
  if (bytes.length === 0)
    throw new CliError(
      ExitCode.badInput,
      physical
        ? `there is no memory at the physical address ${hex(address)}`
        : mapping === undefined
          ? `no page is present at ${hex(address)} (paging ${memory.mode})`
          : `${hex(address)} is at ${hex(mapping.physical)}, where there is no memory (a device?)`,
      physical ? 'leave --physical out for a linear address' : '--physical takes a physical address',
    );
  return { address, physical: physical ? address : mapping?.physical, bytes };
}

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

export const memoryCommand: CheckpointCommand = {
  summary: 'bytes at a linear or physical address',
  usage: 'memory CHECKPOINT ADDRESS [LENGTH] [--physical] [--raw] [--json]',
  details: `ADDRESS and LENGTH (default 256) are hexadecimal (0x…) or decimal. Linear addresses go through the page tables.

  --physical       ADDRESS is physical
  --raw            the bytes as they are, for a file or a pipe

Examples:
  revenant checkpoint memory vm1 0xffffffff81000000 64 --store file:/srv/revenant
  revenant checkpoint memory ./linux.checkpoint 0x7c00 512 --physical`,
  options: { physical: { type: 'boolean' }, raw: { type: 'boolean' } },
  async run(context) {
    context.atMost(3);
    const address = parseAddress(context.word(1, 'an address'));
    const length = parseAddress(context.positionals[2] ?? '256');
    if (length < 1n || length > BigInt(maxBytes))
      throw new CliError(ExitCode.usage, `can't show ${String(length)} bytes`, `give 1 to ${maxBytes}`);
    const memory = new GuestMemory(await context.checkpoint());
    const { bytes, physical } = await readAt(context, memory, address, Number(length));
    if (context.flag('raw')) {
      process.stdout.write(bytes);
      return undefined;
    }
    if (bytes.length < Number(length))
      process.stderr.write(
        `revenant: only ${bytes.length} bytes: no memory at ${hex(address + BigInt(bytes.length))}\n`,
      );
    context.show(
      { address: hex(address), physical: physical === undefined ? null : hex(physical), bytes },
      () => hexDump(address, bytes),
    );
    return undefined;
  },
};

function codeMode(context: Context, memory: GuestMemory): CodeMode {
  const bits = context.count('bits', operatingMode(memory.cpu).bits);
  if (bits !== 16 && bits !== 32 && bits !== 64)
    throw new CliError(ExitCode.usage, `--bits: there is no ${bits}-bit code`, 'give 16, 32 or 64');
  return bits;
}

export const disassembleCommand: CheckpointCommand = {
  summary: 'instructions at an address, or where the processor stands',
  usage: 'disassemble CHECKPOINT [ADDRESS] [--count N] [--bits 16|32|64] [--physical] [--json]',
  details: `Without ADDRESS: at CS:RIP. The instruction there is marked.

  --count N        so many instructions (default 16)
  --bits           what kind of code it is (default: as the processor is set)

Examples:
  revenant checkpoint disassemble vm1 --store file:/srv/revenant
  revenant checkpoint disassemble ./linux.checkpoint 0xffffffff81000000 --count 8`,
  options: { physical: { type: 'boolean' }, count: { type: 'string' }, bits: { type: 'string' } },
  async run(context) {
    context.atMost(2);
    const memory = new GuestMemory(await context.checkpoint());
    const { cpu } = memory;
    const count = context.count('count', 16);
    if (count < 1 || count > 100_000) throw new CliError(ExitCode.usage, `--count: can't show ${count} instructions`, 'give 1 to 100000'); // prettier-ignore
    const base = operatingMode(cpu).bits === 64 ? 0n : cpu.segments.cs.base;
    const here = BigInt.asUintN(64, base + cpu.rip);
    const word = context.positionals[1];
    const address = word === undefined ? here : parseAddress(word);
    const { bytes } = await readAt(context, memory, address, count * maxInstructionBytes);
    const lines = [...disassemble(bytes, codeMode(context, memory), address, count)];
    const json = lines.map((line) => ({ ...line, address: hex(line.address), ...(line.target === undefined ? {} : { target: hex(line.target) }) })); // prettier-ignore
    context.show(json, () =>
      table(
        ['', 'ADDRESS', 'BYTES', 'INSTRUCTION'],
        lines.map((line) => [
          line.address === here ? '>' : '', line.address.toString(16).padStart(8, '0'), Buffer.from(line.bytes).toString('hex'), line.text,
        ]), // prettier-ignore
      ),
    );
    return undefined;
  },
};
