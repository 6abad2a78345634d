/** The values of `--output`, when what a VM says leaves its node, and of `--standby`, whether another node's machine follows it. */
import { outputPolicies, type OutputPolicy } from '@revenant/cluster/client';
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

/** One is all that a VM can have. */
export function standbyCount(given: string, name: string): boolean {
  if (given !== '0' && given !== '1')
    throw new CliError(ExitCode.usage, `${name}: '${given}' is no number of standbys`, '0 or 1');
  return given === '1';
}
