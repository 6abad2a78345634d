/**
 * Where a run stops for a debugger: breakpoints and watchpoints, as the core looks at them (core/events/breakpoints.ts). They are no part of the
 * guest: setting one changes neither memory nor translations, and a run that stops is the run that does not.
 */
import { AccessKind, Debug, Region, Watchpoint as WatchField } from '../cpu/layout.ts';
import type { EngineCore } from './engine-interface.ts';
import { MachineError } from './errors.ts';

/** Bytes at whose access a machine stops. */
export interface Watchpoint {
  /** First byte: a linear address, or (physical) a guest-physical one, whoever writes there by whatever address. */
  address: bigint;
  bytes: number;
  on: 'read' | 'write' | 'access';
  physical?: boolean;
}

/** The first access of an instruction, or of a device, that met a watchpoint. */
export interface WatchHit {
  watchpoint: Watchpoint;
  /** Where the access began, as the watchpoint counts. */
  address: bigint;
  access: 'read' | 'write';
}

const at = Region.debug;
const kinds = {
  read: AccessKind.read,
  write: AccessKind.write,
  access: AccessKind.read | AccessKind.write,
} as const;

function tooMany(what: string, most: number): MachineError {
  return new MachineError(
    'MACHINE_TOO_MANY_STOPS',
    `there are ${String(most)} ${what} already`,
    'remove one of them before',
  );
}

const key = ({ address, bytes, on, physical = false }: Watchpoint): string =>
  `${String(address)} ${String(bytes)} ${on} ${String(physical)}`;

/** Where a machine stops for a debugger: breakpoints and watchpoints. The guest sees none of them. */
export class Stops {
  readonly #view: DataView;
  readonly #breakpoints = new Set<bigint>();
  readonly #watchpoints = new Map<string, Watchpoint>();
  /** Something was called since the last run that may change what the core is to have. */
  #touched = true;
  /** What the core has. */
  #applied: string | undefined = ' ';
  #suspended = 0;
  #listed: Watchpoint[] = [];

  constructor(view: DataView) {
    this.#view = view;
  }

  /** At a linear address; it holds in every address space. */
  addBreakpoint(address: bigint): void {
    if (this.#breakpoints.size >= Debug.breakpointsMax) throw tooMany('breakpoints', Debug.breakpointsMax);
    this.#touched = true;
    this.#breakpoints.add(BigInt.asIntN(64, address));
  }

  removeBreakpoint(address: bigint): void {
    this.#touched = true;
    this.#breakpoints.delete(BigInt.asIntN(64, address));
  }

  addWatchpoint(watchpoint: Watchpoint): void {
    if (this.#watchpoints.size >= Debug.watchpointsMax) throw tooMany('watchpoints', Debug.watchpointsMax);
    this.#touched = true;
    this.#watchpoints.set(key(watchpoint), watchpoint);
  }

  removeWatchpoint(watchpoint: Watchpoint): void {
    this.#touched = true;
    this.#watchpoints.delete(key(watchpoint));
  }

  /** Nothing stops until `resume` is called. */
  suspend(): { resume: () => void } {
    this.#touched = true;
    this.#suspended++;
    return {
      resume: () => {
        this.#touched = true;
        this.#suspended--;
      },
    };
  }

  /** Before a run: tells the core what changed since the last one. Debuggers take everything away and set it again at each stop. */
  apply(core: EngineCore): void {
    if (!this.#touched) return;
    this.#touched = false;
    const breakpoints = this.#suspended > 0 ? [] : [...this.#breakpoints].sort();
    const watchpoints = this.#suspended > 0 ? [] : [...this.#watchpoints.keys()].sort();
    const wanted = `${breakpoints.join()} ${watchpoints.join()}`;
    if (wanted === this.#applied) return;
    this.#applied = wanted;
    this.#listed = watchpoints.flatMap((each) => this.#watchpoints.get(each) ?? []);
    this.#view.setUint32(at + Debug.breakpoints, breakpoints.length, true);
    breakpoints.forEach((address, n) => {
      this.#view.setBigInt64(at + Debug.breakpointList + n * 8, address, true);
    });
    this.#view.setUint32(at + Debug.watchpoints, this.#listed.length, true);
    this.#listed.forEach(({ address, bytes, on, physical = false }, n) => {
      const entry = at + Debug.watchList + n * Debug.watchBytes;
      const start = BigInt.asIntN(64, address);
      this.#view.setBigInt64(entry + WatchField.start, start, true);
      this.#view.setBigInt64(entry + WatchField.end, start + BigInt(bytes), true);
      this.#view.setUint32(entry + WatchField.kinds, kinds[on], true);
      this.#view.setUint32(entry + WatchField.physical, physical ? 1 : 0, true);
    });
    core.debugChanged();
  }

  /** The machine went back in time: the core is told again before the next run. */
  restored(): void {
    this.#touched = true;
    this.#applied = undefined;
    this.takeHit();
  }

  /** What was met since the last call; it is forgotten then. */
  takeHit(): WatchHit | undefined {
    if (this.#view.getUint32(at + Debug.hits, true) === 0) return undefined;
    this.#view.setUint32(at + Debug.hits, 0, true);
    const watchpoint = this.#listed[this.#view.getUint32(at + Debug.hitWatchpoint, true)];
    if (watchpoint === undefined) return undefined;
    const access = this.#view.getUint32(at + Debug.hitAccess, true) === AccessKind.write ? 'write' : 'read';
    return { watchpoint, address: this.#view.getBigUint64(at + Debug.hitAddress, true), access };
  }
}
