/** `revenant vm exec`: a command in a guest, without a network. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { flag, list, text } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { say } from '../../output/print.ts';

/** `NAME=VALUE` words. Throws CliError. */
function environmentOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at < 1) throw new CliError(ExitCode.usage, `--env ${word}: not NAME=VALUE`, 'as in --env LANG=C');
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

const { json: _, ...execOptions } = connectOptions;

export const command = define({
  words: ['NAME', 'COMMAND…'],
  about: `Exits with the command's status (128 and the number of the signal that ended it). The command runs once, whatever becomes of the VM's
node meanwhile; the answer comes when what it did is durable. It runs as root, in root's home, without a terminal. A background
process that keeps its output open is waited for. Revenant's Linux images have the agent; images/linux/agent runs it in others with BusyBox.`,
  options: {
    stdin: flag("give it this command's standard input (default: nothing)"),
    folder: text('PATH', 'where in the guest it runs'),
    env: list('NAME=VALUE', 'a variable of its environment; may be given several times'),
    'no-wait': flag(
      'answer when it has ended, although a failover may take back what it did and run it again',
    ),
    ...execOptions,
  },
  examples: [
    'vm exec web -- uname -a',
    'vm exec web --stdin -- sh',
    'vm exec web --env LANG=C --folder /tmp -- ls -l',
  ],
  async run({ words: [vmId = '', ...words], options }) {
    const stop = new AbortController();
    const interrupted = (): void => stop.abort();
    process.once('SIGINT', interrupted);
    process.once('SIGTERM', interrupted);
    try {
      return await withCluster({ ...options, json: false }, (client) =>
        client.exec(vmId, {
          command: words,
          folder: options.folder,
          environment: environmentOf(options.env),
          stdin: options.stdin ? (process.stdin as AsyncIterable<Uint8Array>) : undefined,
          stdout: (bytes) => process.stdout.write(bytes),
          stderr: (bytes) => process.stderr.write(bytes),
          said: (line) => say(`${vmId} ${line}`),
          durable: !options['no-wait'],
          signal: stop.signal,
        }),
      );
    } finally {
      process.off('SIGINT', interrupted);
      process.off('SIGTERM', interrupted);
      // Its rest is nobody's, and would keep us.
      if (options.stdin) process.stdin.destroy();
    }
  },
});
