/** `revenant mcp`: VMs of a cluster as tools for programs, by the Model Context Protocol on standard input and output. */
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { chosenStore, connectOptions, withCluster } from '../cluster/connect.ts';
import { define } from '../command/command.ts';
import { flag, value } from '../command/options.ts';
import { size, wholeNumber } from '../command/values.ts';
import { Made } from '../mcp/made.ts';
import { mcpServer } from '../mcp/server.ts';
import { tools } from '../mcp/tools.ts';
import { versionLine } from '../version.ts';

/** A program that has to wait is better off than one that is told of a busy host. */
const answerMs = 60_000;

const { json: _, ...options } = connectOptions;

export const command = define({
  words: [],
  about: `A client starts it and speaks to it on standard input and output; it ends with its input. Tools: list, create, fork, exec, screenshot, type,
checkpoints, snapshot, revert, replay (which needs --store) and delete. Whoever has the tools may do to all VMs of the cluster what they do.`,
  options: {
    'max-vms': value('N', 'VMs that it made and that are there at once (default 8)', wholeNumber(1), 8),
    memory: value('SIZE', 'memory of those together (default 4G)', size, 4 * 2 ** 30),
    'read-only': flag('only what changes nothing: list, screenshot, checkpoints, replay'),
    ...options,
  },
  examples: [
    'mcp --store file:/srv/revenant',
    'mcp --node 127.0.0.1:7001 --max-vms 20 --memory 8G',
    'mcp --node 127.0.0.1:7001 --read-only',
  ],
  async run({ options: given }) {
    await withCluster(
      { ...given, json: false },
      async (client) => {
        const limits = { maxVms: given['max-vms'], memoryMiB: given.memory / 2 ** 20 };
        await client.status();
        const server = mcpServer({
          client,
          made: new Made(client, limits),
          storeUrl: chosenStore({ ...given, json: false }),
          tools,
          readOnly: given['read-only'],
          version: versionLine(),
        });
        const ended = new Promise<void>((resolve) => (server.onclose = resolve));
        process.stdin.once('end', () => void server.close());
        await server.connect(new StdioServerTransport());
        await ended;
      },
      answerMs,
    );
    return undefined;
  },
});
