/**
 * One command in a guest, through all nodes that run its VM meanwhile (protocol/agent.ts). What is sent is kept until it is durable, and sent
 * again to whoever runs the VM next from where its state goes on; what the command writes is heard once, by its number.
 */
import { randomUUID } from 'node:crypto';
import { ClusterError } from '../errors.ts';
import {
  agentWindow,
  AgentReplies,
  encodeAgentRequest,
  jobScript,
  maxAgentBody,
  whyNoJob,
  type AgentReply,
  type AgentRequest,
  type JobCommand,
} from '../protocol/agent.ts';
import { decodeJobReply, type JobReply, type JobRequest } from '../protocol/agent-socket.ts';
import { SentInput } from '../protocol/console-ends.ts';
import { maxJobMessages, maxUnacknowledgedMessages } from '../protocol/limits.ts';
import { VmRelay, type VmPlace } from './vm-relay.ts';

export interface JobOptions extends JobCommand {
  /** Its standard input. Default: empty. */
  stdin?: AsyncIterable<Uint8Array> | undefined;
  stdout?: ((bytes: Uint8Array) => void) | undefined;
  stderr?: ((bytes: Uint8Array) => void) | undefined;
  /** What people should know of it, a line at a time. */
  said?: ((line: string) => void) | undefined;
  /**
   * Whether the answer waits until what the command did is durable, so that no failover takes it back (default). Without, and with output
   * policy `async`, it may be run again.
   */
  durable?: boolean | undefined;
  /** How long the agent has to answer at first, in milliseconds. Default: a minute. */
  patienceMs?: number | undefined;
  /** Aborted: the job is killed. */
  signal?: AbortSignal | undefined;
}

interface JobHost {
  find: (job: string) => Promise<VmPlace | undefined>;
  /** Why the VM will never answer; undefined when it may. */
  whyNever: () => Promise<string | undefined>;
}

const patienceMs = 60_000;
const lookMs = 1000;

/** One output of the job: each of its bytes once and in order, however it was cut. */
export class JobOutput {
  readonly #hear: (bytes: Uint8Array) => void;
  readonly #early = new Map<number, Uint8Array>();
  #next = 0;
  ended = false;

  constructor(hear: (bytes: Uint8Array) => void = () => undefined) {
    this.#hear = hear;
  }

  /** A piece from byte `at` on. False: it comes too early to be kept, and is to be said again. */
  put(at: number, bytes: Uint8Array): boolean {
    if (at > this.#next) {
      if (this.#early.size >= 2 * agentWindow) return false;
      this.#early.set(at, bytes);
      return true;
    }
    this.#take(at, bytes);
    for (let more = true; more;) {
      more = false;
      for (const [start, early] of this.#early) {
        if (start > this.#next) continue;
        this.#early.delete(start);
        this.#take(start, early);
        more = true;
      }
    }
    return true;
  }

  #take(at: number, bytes: Uint8Array): void {
    if (this.ended) return;
    if (bytes.length === 0) {
      this.ended = at === this.#next;
      return;
    }
    const fresh = bytes.subarray(Math.min(this.#next - at, bytes.length));
    this.#next += fresh.length;
    if (fresh.length > 0) this.#hear(fresh);
  }
}

export class AgentJob {
  readonly #name = randomUUID().replaceAll('-', '').slice(0, 16);
  readonly #options: JobOptions;
  readonly #host: JobHost;
  readonly #input: SentInput<Uint8Array[]>;
  readonly #relay: VmRelay<JobRequest, JobReply>;
  readonly #replies = new AgentReplies();
  /** For what there was no room: at most what the agent says before it is answered, and a few words more. */
  readonly #owed: Uint8Array[] = [];
  readonly #streams: readonly [JobOutput, JobOutput];
  /** Pieces of its input that went out, and that it took. */
  #given = 0;
  #taken = 0;
  #status: number | undefined;
  #epoch: number | undefined;
  #answered = false;
  /** It was attached before: what was said meanwhile nobody heard. */
  #asks = false;
  #trouble = '';
  #failed: ClusterError | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(options: JobOptions, host: JobHost) {
    const why = whyNoJob(options);
    if (why !== undefined) throw new ClusterError('BAD_REQUEST', why);
    this.#options = options;
    this.#host = host;
    this.#streams = [new JobOutput(options.stdout), new JobOutput(options.stderr)];
    this.#input = this.#makeInput();
    this.#relay = new VmRelay({
      find: () => host.find(this.#name),
      decode: decodeJobReply,
      attached: () => {
        this.#input.attached();
        this.#askAgain();
      },
      heard: (reply, { isNewest, endOld }) => {
        if (isNewest) {
          endOld();
          this.#hear(reply);
        }
      },
    });
  }

  #makeInput(): SentInput<Uint8Array[]> {
    const session = randomUUID();
    return new SentInput<Uint8Array[]>({
      session,
      said: () => undefined,
      unit: 'messages',
      empty: [],
      join: (one, other) => [...one, ...other],
      limit: maxUnacknowledgedMessages,
      atOnce: maxJobMessages,
      open: (from) => this.#relay.post({ type: 'open', session, from }),
      send: (at, messages) => this.#relay.post({ type: 'tell', at, messages }),
    });
  }

  #hear(reply: JobReply): void {
    if (reply.type === 'said') {
      if (reply.epoch < (this.#epoch ?? 0)) return;
      for (const each of this.#replies.read(reply.bytes)) this.#heard(each);
    } else {
      if (reply.type === 'state') this.#trouble = reply.reason;
      this.#input.heard(reply);
      if (reply.type === 'place') this.#placed(reply.epoch);
    }
    this.#pay();
    this.#news();
  }

  #placed(epoch: number): void {
    if (epoch === this.#epoch) return;
    const isFirst = this.#epoch === undefined;
    this.#epoch = epoch;
    if (isFirst) return;
    this.#options.said?.(`goes on elsewhere (epoch ${String(epoch)})`);
    this.#askAgain();
  }

  /** Runs it to its end. @returns its exit status. Throws ClusterError: no agent answers, the VM ended or was booted afresh */
  async run(): Promise<number> {
    const abort = (): void => this.#owe({ verb: 'kill', job: this.#name, signal: 'TERM' });
    try {
      const body = new TextEncoder().encode(jobScript(this.#options));
      this.#send({ verb: 'run', job: this.#name, body });
      this.#options.signal?.addEventListener('abort', abort);
      const feeding = this.#feed();
      feeding.catch((error: unknown) => this.#fail(error as ClusterError));
      await this.#until(() => this.#isOver);
      await this.#sendWhenRoom({ verb: 'end', job: this.#name });
      if (this.#options.durable !== false) await this.#until(() => this.#input.unacknowledged === 0);
      return this.#status ?? 0;
    } finally {
      this.#options.signal?.removeEventListener('abort', abort);
      this.#input.detached();
      this.#relay.close();
    }
  }

  get #isOver(): boolean {
    return this.#status !== undefined && this.#streams.every(({ ended }) => ended);
  }

  /** Sends its input as the command takes it. */
  async #feed(): Promise<void> {
    for await (const bytes of this.#options.stdin ?? []) {
      for (let from = 0; from < bytes.length; from += maxAgentBody)
        await this.#give(bytes.subarray(from, from + maxAgentBody));
      if (this.#isOver) return;
    }
    await this.#give(new Uint8Array(0));
  }

  async #give(body: Uint8Array): Promise<void> {
    await this.#until(() => this.#given - this.#taken < agentWindow || this.#isOver);
    if (!this.#isOver) await this.#sendWhenRoom({ verb: 'in', job: this.#name, number: this.#given++, body });
  }

  #send(request: AgentRequest): boolean {
    return this.#owed.length === 0 && this.#input.write([encodeAgentRequest(request)]);
  }

  /** Sends it now, or as soon as there is room. */
  #owe(request: AgentRequest): void {
    this.#owed.push(encodeAgentRequest(request));
    this.#pay();
  }

  #pay(): void {
    while (this.#owed[0] !== undefined && this.#input.write([this.#owed[0]])) this.#owed.shift();
  }

  async #sendWhenRoom(request: AgentRequest): Promise<void> {
    await this.#until(() => this.#send(request));
  }

  /** Whatever was said where nobody heard it is to be said again. */
  #askAgain(): void {
    if (this.#asks) this.#owe({ verb: 'tell', job: this.#name });
    this.#asks = true;
  }

  #heard(reply: AgentReply): void {
    this.#answered = true;
    switch (reply.verb) {
      case 'out': {
        const { stream, at, body } = reply;
        if (this.#streams[stream - 1]?.put(at, body) === true)
          this.#owe({ verb: 'got', job: this.#name, stream, at });
        return;
      }
      case 'took':
        this.#taken = Math.max(this.#taken, reply.number + 1);
        return;
      case 'exit':
        this.#status = reply.status;
        return;
      case 'gone':
        if (!this.#isOver)
          this.#fail(new ClusterError('CONFLICT', 'the guest was started afresh while the command ran'));
    }
  }

  #fail(error: ClusterError): void {
    this.#failed ??= error;
    this.#news();
  }

  /** Waits for news until something holds. */
  async #until(holds: () => boolean): Promise<void> {
    const began = performance.now();
    for (let looked = began; ;) {
      if (this.#failed !== undefined) throw this.#failed;
      if (holds()) return;
      await this.#newsWithin(lookMs);
      if (performance.now() - looked < lookMs) continue;
      looked = performance.now();
      const never = await this.#host.whyNever();
      if (never !== undefined) throw new ClusterError('CONFLICT', never);
      if (!this.#answered && looked - began > (this.#options.patienceMs ?? patienceMs))
        throw new ClusterError(
          'TIMEOUT',
          `no agent in the guest answers${this.#trouble && `: ${this.#trouble}`}`,
          {
            hint: 'the Linux images have one; in others start images/linux/agent',
          },
        );
    }
  }

  #news(): void {
    for (const wake of this.#waiting) wake();
  }

  async #newsWithin(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#waiting.add(wake);
    });
  }
}
