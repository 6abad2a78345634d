/**
 * A server of the Model Context Protocol (decision 0074) over a cluster: whole machines as tools for programs. It speaks by the protocol's own SDK;
 * what a tool takes is checked by the schema that the client was shown.
 */
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  ListToolsRequestSchema,
  type CallToolResult,
  type ListToolsResult,
} from '@modelcontextprotocol/sdk/types.js';
import { toJsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { CliError, ExitCode } from '../errors.ts';
import { asCliError } from '../failures.ts';
import type { Said, Tool, ToolContext } from './tool.ts';

export interface McpOptions extends Omit<ToolContext, 'signal'> {
  tools: readonly Tool[];
  /** Offers only what changes nothing. */
  readOnly: boolean;
  version: string;
}

const instructions = `Whole x86 PCs as sandboxes. "create" or "fork" one, run commands in it with "exec" (images with an agent: linux-cloud, linux-amd64,
linux-server), or look at it with "screenshot" and use it with "type". "snapshot" keeps a state by name, "revert" goes back to it. Delete what you made.`;

const named = ({ name, about, takes, changes }: Tool): ListToolsResult['tools'][number] => ({
  name,
  description: about,
  inputSchema: toJsonSchema(takes) as ListToolsResult['tools'][number]['inputSchema'],
  annotations: { readOnlyHint: !changes, destructiveHint: name === 'delete' || name === 'revert' },
});

function content({ text, picture }: Said): CallToolResult['content'] {
  const shown = { type: 'text' as const, text };
  if (picture === undefined) return [shown];
  const data = Buffer.from(picture).toString('base64');
  return [shown, { type: 'image', data, mimeType: 'image/png' }];
}

/** A server that is to be connected with a transport. */
export function mcpServer({ tools, readOnly, version, ...context }: McpOptions): Server {
  const offered = tools.filter(({ changes }) => !(readOnly && changes));
  const server = new Server({ name: 'revenant', version }, { capabilities: { tools: {} }, instructions });
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: offered.map(named) }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }): Promise<CallToolResult> => {
    try {
      const tool = offered.find(({ name }) => name === params.name);
      if (tool === undefined) throw new CliError(ExitCode.usage, `there is no tool ${params.name}`);
      const given = v.safeParse(tool.takes, params.arguments ?? {});
      if (!given.success) throw new CliError(ExitCode.usage, `${tool.name}: ${v.summarize(given.issues)}`);
      return { content: content(await tool.run(given.output, { ...context, signal })) };
    } catch (error) {
      // For the model to read: an error of the protocol would end its turn.
      const { message, hint } = asCliError(error);
      return {
        isError: true,
        content: [{ type: 'text', text: hint === undefined ? message : `${message}\n${hint}` }],
      };
    }
  });
  return server;
}
