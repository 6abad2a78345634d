/** The VMs of one node, without its node: for tests of how VMs go from one to the next. `close` is a crash: nothing is made durable. */
import { readOwner, type ObjectStore } from '@revenant/storage';
import type { ProtectedVm, VmSpec } from '../src/decisions/records.ts';
import { makeSettings, type Settings } from '../src/decisions/settings.ts';
import type { Event, LogEntry } from '../src/decisions/types.ts';
import { HeardOutput, type OutputPiece } from '../src/protocol/console-ends.ts';
import { ConsoleHub } from '../src/node/console-hub.ts';
import { ConsoleInputs, takenOf, typedBytes } from '../src/node/console-inputs.ts';
import { until } from '../src/testing/until.ts';
import { standbyNoteOf } from '../src/vm/standby/owner-note.ts';
import { VmHost, type VmHostOptions } from '../src/vm/vm-host.ts';

export function vmOf(spec: Partial<VmSpec>, changes: Partial<ProtectedVm> = {}): ProtectedVm {
  return {
    id: 'v1',
    spec: { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async', ...spec },
    desired: 'running',
    boot: 1,
    status: 'stopped',
    reason: '',
    assignment: null,
    attempt: 1,
    tries: 0,
    avoid: [],
    moving: false,
    ...changes,
  };
}

/** Somebody at the console of `v1`, through all its owners. */
export class Listener {
  text = '';
  readonly said: string[] = [];
  readonly #heard = new HeardOutput((line) => this.said.push(line));

  hear(piece: OutputPiece): void {
    this.text += Buffer.from(this.#heard.fresh(piece)?.bytes ?? []).toString('latin1');
  }
}

/** Somebody who types at `v1`, and sends again what a new owner does not have. */
export class Typist {
  typed = '';
  /** Bytes of it that are safe, whatever happens. */
  durable = 0;
  /** Of these the state had lost some when an owner took over. */
  lost = 0;
  #sent = 0;
  #home: VmHome | undefined;

  attach(home: VmHome): void {
    this.#home = home;
    home.inputs.open('v1', 'session', this.durable, {
      place: ({ at, known }) => {
        if (known && at < this.durable) this.lost += this.durable - at;
        this.#sent = at;
      },
      acknowledged: (_taken, durable) => (this.durable = Math.max(this.durable, durable)),
    });
  }

  async type(text: string): Promise<void> {
    this.typed += text;
    const bytes = Buffer.from(this.typed.slice(this.#sent), 'latin1');
    const at = this.#sent;
    this.#sent += bytes.length;
    await this.#home?.inputs.type('v1', 'session', at, typedBytes(bytes));
  }
}

export class VmHome {
  readonly host: VmHost;
  readonly events: Event[] = [];
  readonly log: LogEntry[] = [];
  readonly consoles = new ConsoleHub();
  readonly inputs: ConsoleInputs;
  readonly #store: ObjectStore;

  constructor(store: ObjectStore, settings: Partial<Settings> = {}, options: Partial<VmHostOptions> = {}) {
    this.#store = store;
    this.inputs = new ConsoleInputs(async (vmId, inputs, typed) =>
      takenOf(await this.host.input(vmId, inputs, typed)),
    );
    this.host = new VmHost({
      node: 'a',
      store,
      settings: makeSettings('default', { checkpointMs: 300, ...settings }),
      tell: (event) => this.events.push(event),
      log: (entry) => this.log.push(entry),
      inputs: this.inputs,
      output: (vmId, epoch, piece) => this.consoles.put(vmId, epoch, piece),
      resumed: (vmId, epoch, how) => this.consoles.begin(vmId, epoch, how),
      ...options,
    });
    this.host.do({ type: 'grant', until: Infinity });
  }

  /** Takes the VM over from epoch `above`. @returns its epoch */
  async run(vm: ProtectedVm, above: number, standbyLost?: string): Promise<number> {
    const vmId = vm.id;
    const noted = standbyNoteOf(vmId, (await readOwner(this.#store, vmId))?.record.notes ?? {});
    const raise = { type: 'raise', vmId, attempt: 1, expectedEpoch: above, incarnation: 1 } as const;
    this.host.do({
      ...raise,
      ...(noted && { noted }),
      ...(standbyLost === undefined ? {} : { standbyLost }),
    });
    const told = (type: Event['type']): Event | undefined =>
      this.events.find((event) => event.type === type && 'vmId' in event && event.vmId === vmId);
    await until('the epoch', () => told('raised') !== undefined || told('not-raised') !== undefined);
    const raised = told('raised');
    if (raised?.type !== 'raised') throw new Error(JSON.stringify(this.events));
    const { epoch } = raised;
    this.host.do({ type: 'run', vm, epoch, paused: false, until: Infinity });
    await until('the start', () => told('started') !== undefined || told('stopped') !== undefined);
    if (told('started') === undefined) throw new Error(JSON.stringify(this.events));
    return epoch;
  }

  said(event: string): LogEntry[] {
    return this.log.filter((entry) => entry.event === event);
  }

  /** Has somebody listen to `v1` here, who may have listened elsewhere before. */
  listen(listener: Listener): void {
    this.consoles.listen('v1', (piece) => listener.hear(piece));
  }

  async close(): Promise<void> {
    await this.host.close();
  }
}
