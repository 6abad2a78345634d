/**
 * What is said over the channel `org.revenant.agent` of a VM to the agent in its guest (images/linux/agent), and by it. Runs in a browser.
 *
 * Each message is a line of words, with so many bytes behind it as its last word says where it has a body. A job is a command that is run;
 * its name is chosen by who asks. Messages to the agent reach the guest's state once (node/console-inputs.ts), so that a job runs once in
 * whatever life goes on. What the agent says carries numbers, and is kept in the guest until `got` says that it was heard: after a failover
 * it is asked by `tell` to say again what was not.
 */
import { bounded } from './limits.ts';

export const jobPattern = /^[0-9a-f]{16}$/;
/** Of one message's body: with its line it is one write of the guest's, of at most 32 KiB. */
export const maxAgentBody = 30_000;
/** Bodies that were sent to one job's input, or heard from one of its streams, and that nobody said to have. The agent keeps as many. */
export const agentWindow = 12;
const maxLine = 120;

/** To the agent. */
export type AgentRequest =
  /** Runs a shell script as a job. */
  | { verb: 'run'; job: string; body: Uint8Array }
  /** A piece of its standard input, counted from 0; an empty one ends it. */
  | { verb: 'in'; job: string; number: number; body: Uint8Array }
  /** The piece of an output that begins with its byte `at` was heard. */
  | { verb: 'got'; job: string; stream: number; at: number }
  /** What was not heard is to be said again. */
  | { verb: 'tell'; job: string }
  /** A signal for all processes of a job, by its name without SIG. */
  | { verb: 'kill'; job: string; signal: string }
  /** The job is forgotten; one that runs is killed. */
  | { verb: 'end'; job: string };

/** From the agent. */
export type AgentReply =
  /**
   * Standard output (stream 1) or error (2) from its byte `at` on; an empty piece is its end. After a failover pieces may be cut
   * elsewhere.
   */
  | { verb: 'out'; job: string; stream: number; at: number; body: Uint8Array }
  /** A job's last process ended. Status as a shell tells it. */
  | { verb: 'exit'; job: string; status: number }
  /** A piece of its input went to it. */
  | { verb: 'took'; job: string; number: number }
  /** There is no such job. */
  | { verb: 'gone'; job: string };

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

export function encodeAgentRequest(request: AgentRequest): Uint8Array {
  const { verb, job } = request;
  const words: (string | number)[] = [verb, job];
  if (verb === 'got') words.push(request.stream, request.at);
  if (verb === 'in') words.push(request.number);
  if (verb === 'kill') words.push(request.signal);
  const body = 'body' in request ? request.body : undefined;
  if (body !== undefined) words.push(body.length);
  const line = ascii(`${words.join(' ')}\n`);
  if (body === undefined) return line;
  const bytes = new Uint8Array(line.length + body.length);
  bytes.set(line);
  bytes.set(body, line.length);
  return bytes;
}

const requestLine =
  /^(?:(?:run ([0-9a-f]{16})|in ([0-9a-f]{16}) \d{1,9}) (\d{1,5})|got ([0-9a-f]{16}) [12] \d{1,15}|(?:tell|end) ([0-9a-f]{16})|kill ([0-9a-f]{16}) [A-Z0-9]{1,10})\n$/;

/** The length of the message that some bytes begin with, and its job; undefined when they begin with none. */
export function agentRequestAt(bytes: Uint8Array): { length: number; job: string } | undefined {
  const end = bytes.subarray(0, maxLine).indexOf(10);
  if (end < 0) return undefined;
  const [, run, input, body = '0', got, bare, kill] =
    requestLine.exec(latin1(bytes.subarray(0, end + 1))) ?? [];
  const job = run ?? input ?? got ?? bare ?? kill;
  const bodyBytes = Number(body);
  const length = end + 1 + bodyBytes;
  if (job === undefined || bodyBytes > maxAgentBody || length > bytes.length) return undefined;
  return { length, job };
}

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const replyLine = /^(out|exit|took|gone) ([0-9a-f]{16})((?: \d{1,15}){0,3})$/;
const wordCounts = { out: 3, exit: 1, took: 1, gone: 0 } as const;

/** What the line of a message says; `bodyBytes`: how many follow. Undefined: it is none. */
function readLine(line: string): { reply: AgentReply; bodyBytes: number } | undefined {
  const [, verb, job = '', rest = ''] = replyLine.exec(line) ?? [];
  if (verb === undefined) return undefined;
  const known = verb as AgentReply['verb'];
  const numbers = rest.split(' ').slice(1).map(Number);
  if (numbers.length !== wordCounts[known]) return undefined;
  const [first = 0, second = 0, third = 0] = numbers;
  if (known === 'exit') return { reply: { verb: known, job, status: first }, bodyBytes: 0 };
  if (known === 'took') return { reply: { verb: known, job, number: first }, bodyBytes: 0 };
  if (known === 'gone') return { reply: { verb: known, job }, bodyBytes: 0 };
  if (first < 1 || first > 2 || third > maxAgentBody) return undefined;
  const body = new Uint8Array(0);
  return { reply: { verb: 'out', job, stream: first, at: second, body }, bodyBytes: third };
}

/** Messages out of the bytes of a guest, which may say anything: lines that are no message are left out, and nothing grows. */
export class AgentReplies {
  #rest = new Uint8Array(0);
  /** In a line that is longer than any of ours. */
  #skips = false;

  /** @returns the messages that these bytes complete */
  read(bytes: Uint8Array): AgentReply[] {
    let all = joined(this.#rest, bytes);
    const replies: AgentReply[] = [];
    for (;;) {
      if (this.#skips || (all.length >= maxLine && !all.subarray(0, maxLine).includes(10))) {
        const end = all.indexOf(10);
        this.#skips = end < 0;
        all = all.subarray(end < 0 ? all.length : end + 1);
      }
      const end = all.subarray(0, maxLine).indexOf(10);
      if (end < 0 && all.length < maxLine) break;
      if (end < 0) continue;
      const read = readLine(latin1(all.subarray(0, end)));
      const length = end + 1 + (read?.bodyBytes ?? 0);
      if (all.length < length) break;
      if (read?.reply.verb === 'out') read.reply.body = all.slice(end + 1, length);
      if (read !== undefined) replies.push(read.reply);
      all = all.subarray(length);
    }
    this.#rest = all.slice();
    return replies;
  }
}

function joined(before: Uint8Array, behind: Uint8Array): Uint8Array {
  const all = new Uint8Array(before.length + behind.length);
  all.set(before);
  all.set(behind, before.length);
  return all;
}

export function encodeAgentReply(reply: AgentReply): Uint8Array {
  const { verb, job } = reply;
  if (verb !== 'out') {
    const number =
      verb === 'exit' ? ` ${String(reply.status)}` : verb === 'took' ? ` ${String(reply.number)}` : '';
    return ascii(`${verb} ${job}${number}\n`);
  }
  const { stream, at, body } = reply;
  return joined(ascii(`out ${job} ${String(stream)} ${String(at)} ${String(body.length)}\n`), body);
}

/** One word for a POSIX shell, whatever is in it. */
export const shellWord = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;

export interface JobCommand {
  /** Program and arguments. */
  command: readonly string[];
  /** Where it runs; default: root's home. */
  folder?: string | undefined;
  environment?: Readonly<Record<string, string>> | undefined;
}

/** A script that becomes the command. */
export function jobScript({ command, folder, environment = {} }: JobCommand): string {
  const lines = Object.entries(environment).map(([name, value]) => `export ${name}=${shellWord(value)}`);
  if (folder !== undefined) lines.unshift(`cd ${shellWord(folder)} || exit 126`);
  return [...lines, `exec ${command.map(shellWord).join(' ')}`, ''].join('\n');
}

/** Why a command can't be run as a job; undefined when it can. */
export function whyNoJob({ command, environment = {}, ...rest }: JobCommand): string | undefined {
  if (command.length === 0) return 'no command was given';
  const words = [...command, ...Object.values(environment), rest.folder ?? ''];
  if (words.some((word) => word.includes('\0'))) return 'no word of a command can hold a NUL';
  const bad = Object.keys(environment).find((name) => !/^[A-Za-z_]\w*$/.test(name));
  if (bad !== undefined) return `${bounded(JSON.stringify(bad), 40)} is no name of a variable`;
  const bytes = ascii(jobScript({ command, environment, ...rest })).length;
  return bytes > maxAgentBody
    ? `the command has ${String(bytes)} bytes, at most ${String(maxAgentBody)}`
    : undefined;
}
