/** The value of `--output`: when what a VM says leaves its node. */
import { outputPolicies, type OutputPolicy } from '@revenant/cluster';
import { CliError, ExitCode } from '../errors.ts';

export function outputPolicy(given: string, name: string): OutputPolicy {
  const policy = outputPolicies.find((each) => each === given);
  if (policy === undefined)
    throw new CliError(
      ExitCode.usage,
      `${name}: '${given}' is no policy for outputs`,
      `one of ${outputPolicies.join(', ')}`,
    );
  return policy;
}
