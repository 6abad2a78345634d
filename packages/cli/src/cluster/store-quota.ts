/** The value of `--store-quota`: how much a VM may hold in the store; `none` is no limit. */
import { minStoreQuotaBytes } from '@revenant/cluster';
import { size } from '../command/values.ts';
import { CliError, ExitCode } from '../errors.ts';

export function storeQuota(given: string, name: string): number | null {
  if (given === 'none') return null;
  const bytes = size(given, name);
  if (bytes < minStoreQuotaBytes)
    throw new CliError(
      ExitCode.usage,
      `${name}: ${given} is too little for any VM`,
      `at least ${String(minStoreQuotaBytes / 2 ** 20)}M, or none`,
    );
  return bytes;
}
