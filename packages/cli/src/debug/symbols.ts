/** Names of addresses in code: from System.map, /proc/kallsyms or what nm prints; lines of address, type, name. */
import { readFileSync } from 'node:fs';
import type { NameOf } from '@revenant/debugger';
import { CliError, ExitCode, messageOf } from '../errors.ts';

/** Behind the last symbol there is other code. */
const longestFunction = 0x10_0000n;

export function parseSymbols(text: string): NameOf {
  const found: { address: bigint; name: string }[] = [];
  for (const [, address = '', name = ''] of text.matchAll(/^([0-9a-f]{4,16}) [tTwW] (\S+)/gm))
    found.push({ address: BigInt(`0x${address}`), name });
  found.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  return (address) => {
    let [low, high] = [0, found.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((found[middle]?.address ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = found[low - 1];
    return symbol !== undefined && address - symbol.address < longestFunction ? symbol.name : undefined;
  };
}

/** Throws CliError. */
export function readSymbols(path: string): NameOf {
  try {
    return parseSymbols(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new CliError(
      ExitCode.badInput,
      `--symbols: can't read '${path}': ${messageOf(error)}`,
      'check the path',
      error,
    );
  }
}
