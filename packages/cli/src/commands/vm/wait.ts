/** `revenant vm wait`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { value } from '../../command/options.ts';
import { span } from '../../command/values.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { waitingUntil } from '../../output/waiting.ts';

export const command = define({
  words: ['NAME'],
  about: `Until the VM is off: its guest switched it off, or somebody stopped or deleted it. Exit code: the status with which the guest ended, where it gave
one, as those of container images do; else 0. For a VM that failed for good, or never was: 16.`,
  options: {
    timeout: value(
      'TIME',
      'how long at most, as in 30s or 10m; then exit code 18 (default: for ever)',
      span,
      Infinity,
    ),
    ...connectOptions,
  },
  examples: ['vm wait job --store file:/srv/revenant', 'vm wait job --timeout 10m'],
  async run(input) {
    const { options } = input;
    const vmId = input.word(0);
    const vm = await withCluster(options, async (client) => {
      await client.vm(vmId);
      return waitingUntil(`${vmId} is off`, () =>
        client.waitFor(vmId, ['stopped', 'failed', 'deleted'], options.timeout),
      );
    });
    if (vm.status === 'failed') throw new CliError(ExitCode.refused, `${vmId} failed: ${vm.reason}`);
    input.show(vm, () => `${vmId} is ${vm.status}: ${vm.reason}`);
    return vm.exitStatus ?? 0;
  },
});
