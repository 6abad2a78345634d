/** The tool `exec` of the MCP server, as a program uses it at a guest. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

const main = join(import.meta.dirname, '../src/main.ts');
const mcpMs = 600_000;

/** @param store of a cluster that runs a VM `box` of Linux */
export async function execByMcp(store: string): Promise<void> {
  const program = new Client({ name: 'test', version: '1' });
  const args = [main, 'mcp', '--store', store];
  await program.connect(new StdioClientTransport({ command: process.execPath, args }), { timeout: mcpMs });
  try {
    const call = async (given: Record<string, unknown>): Promise<{ isError: boolean; text: string }> => {
      const answer = await program.callTool({ name: 'exec', arguments: { vm: 'box', ...given } }, undefined, {
        timeout: mcpMs,
      });
      const { isError = false, content } = answer as unknown as {
        isError?: boolean;
        content: [{ text: string }];
      };
      return { isError, text: content[0].text };
    };
    const script = 'echo "$WORD of $(pwd)"; cat; echo errors >&2; exit 7';
    const ran = await call({
      command: ['sh', '-c', script],
      ...{ stdin: 'read\n', folder: '/tmp', environment: { WORD: "it's" }, timeoutSeconds: 300 },
    });
    assert.deepEqual(JSON.parse(ran.text), {
      ...{ status: 7, stdout: "it's of /tmp\nread\n", stderr: 'errors\n' },
    });
    // One that takes too long is killed in its guest, and what it said is told.
    const late = await call({ command: ['sh', '-c', 'echo begun; sleep 100000'], timeoutSeconds: 20 });
    assert.match(late.text, late.isError ? /longer than 20 s.*begun/s : /"timedOut": true/);
    const long = await call({ command: ['head', '-c', '100000', '/dev/zero'], timeoutSeconds: 300 });
    assert.match(long.text, /\[34464 bytes more\]/);
    const nobody = await call({ vm: 'nobody', command: ['true'] });
    assert.ok(nobody.isError && /there is no VM nobody/.test(nobody.text), nobody.text);
  } finally {
    await program.close();
  }
}
