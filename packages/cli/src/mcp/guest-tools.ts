/** The tools of the MCP server that use a guest: commands in it, its screen, and what is typed. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { CliError, ExitCode } from '../errors.ts';
import { encodeRgbPng } from '../output/png.ts';
import { json, seconds, told, tool, vmName } from './tool.ts';

/** Of each stream of a command, and of what a console says: as much as a model can read. */
const maxStreamBytes = 64 << 10;
const maxCommandSeconds = 600;
const maxWaitSeconds = 60;
const lookMs = 20;

/** The first bytes of a stream, and how many there were. */
class Kept {
  readonly #parts: Uint8Array[] = [];
  #keptBytes = 0;
  allBytes = 0;

  readonly add = (bytes: Uint8Array): void => {
    this.allBytes += bytes.length;
    const part = bytes.slice(0, maxStreamBytes - this.#keptBytes);
    this.#keptBytes += part.length;
    this.#parts.push(part);
  };

  get text(): string {
    const text = Buffer.concat(this.#parts).toString('utf8');
    const left = this.allBytes - this.#keptBytes;
    return left === 0 ? text : `${text}\n[${String(left)} bytes more]`;
  }
}

export const execTool = tool('exec', {
  about: `Runs a command in a guest as root, by the agent of Revenant's Linux images, without a network: exit status and both streams.
No shell is between: for one, ["sh", "-c", "…"].`,
  takes: v.strictObject({
    vm: vmName,
    command: told(v.pipe(v.array(v.string()), v.minLength(1)), 'the program and its arguments'),
    stdin: v.optional(told(v.string(), 'its standard input')),
    folder: v.optional(told(v.string(), 'where it runs')),
    environment: v.optional(v.record(v.string(), v.string())),
    timeoutSeconds: v.optional(seconds('it is killed after so long', maxCommandSeconds), 60),
  }),
  changes: true,
  run: async ({ vm, command, stdin, folder, environment, timeoutSeconds }, { client, signal }) => {
    const [stdout, stderr] = [new Kept(), new Kept()];
    const late = AbortSignal.timeout(timeoutSeconds * 1000);
    try {
      const status = await client.exec(vm, {
        command,
        folder,
        environment: environment ?? {},
        stdin: stdin === undefined ? undefined : bytesOf(stdin),
        stdout: stdout.add,
        stderr: stderr.add,
        signal: AbortSignal.any([signal, late]),
      });
      return json({
        status,
        stdout: stdout.text,
        stderr: stderr.text,
        ...(late.aborted ? { timedOut: true } : {}),
      });
    } catch (error) {
      if (!late.aborted) throw error;
      throw new CliError(
        ExitCode.refused,
        `${vm}: the command took longer than ${String(timeoutSeconds)} s; until then it said: ${stdout.text}${stderr.text}`,
      );
    }
  },
});

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

export const screenshotTool = tool('screenshot', {
  about: "What a VM's screen shows: a picture, and the text where it is a text screen.",
  takes: v.strictObject({ vm: vmName }),
  changes: false,
  run: async ({ vm }, { client }) => {
    const picture = await client.picture(vm);
    const text = await client.screen(vm).then(
      ({ lines }) => lines.join('\n'),
      () => `${String(picture.width)} by ${String(picture.height)} pixels, no text screen`,
    );
    return { text, picture: encodeRgbPng(picture) };
  },
});

export const typeTool = tool('type', {
  about: `Types at a guest: text on its serial console (a line ends with \\r), or keys of its keyboard by name (KeyA, Enter, ControlLeft, F2), pressed
together. Answers with what its console said meanwhile.`,
  takes: v.strictObject({
    vm: vmName,
    text: v.optional(told(v.pipe(v.string(), v.maxLength(maxStreamBytes)), 'for its serial console')),
    keys: v.optional(told(v.array(v.string()), 'of its keyboard, pressed together')),
    untilText: v.optional(told(v.string(), 'answer as soon as its console says this')),
    waitSeconds: v.optional(seconds('listen to its console for so long', maxWaitSeconds), 2),
  }),
  changes: true,
  run: async ({ vm, text, keys, untilText, waitSeconds }, { client, signal }) => {
    await client.vm(vm);
    if (keys !== undefined) await client.press(vm, keys);
    const heard = new Kept();
    let typed = text === undefined;
    const follower = client.console(vm, (bytes) => {
      // What it said before anything was typed is no answer.
      if (typed) heard.add(bytes);
    });
    try {
      const end = performance.now() + waitSeconds * 1000;
      if (text !== undefined) {
        while (!follower.write(Buffer.from(text))) await sleep(lookMs, undefined, { signal });
        typed = true;
      }
      while (performance.now() < end && !(untilText !== undefined && heard.text.includes(untilText)))
        await sleep(lookMs, undefined, { signal });
      // What is not acknowledged is with nobody but us.
      while (follower.unacknowledged > 0) await sleep(lookMs, undefined, { signal });
    } finally {
      follower.close();
    }
    return json({ console: heard.text });
  },
});
