/** The breakpoints and watchpoints of one connection. They are gone when it ends. */
import type { Stops, Watchpoint } from '@revenant/emulator';
import { Refusal } from './refusal.ts';

const ok = 'OK';
const breakpointTypes = { 0: 'software', 1: 'hardware' } as const;
const watchTypes = { 2: 'write', 3: 'read', 4: 'access' } as const;

export class Points {
  readonly #stops: Stops;
  readonly #breakpoints = { software: new Set<bigint>(), hardware: new Set<bigint>() };
  readonly #watchpoints: Watchpoint[] = [];

  constructor(stops: Stops) {
    this.#stops = stops;
  }

  /** `Z` and `z`. */
  packet(text: string): string {
    const [type = '', address = '', kind = ''] = text.slice(1).split(';')[0]?.split(',') ?? [];
    if (!/^[0-4]$/.test(type)) return '';
    if (!/^[0-9a-f]{1,16}$/i.test(address)) return Refusal.badRequest;
    const at = BigInt(`0x${address}`);
    const setting = text.startsWith('Z');
    try {
      if (type === '0' || type === '1') this.#breakpoint(breakpointTypes[type], at, setting);
      else this.#watchpoint(watchTypes[type as unknown as keyof typeof watchTypes], at, kind, setting);
    } catch {
      // There are as many as the machine holds.
      return Refusal.invalid;
    }
    return ok;
  }

  #breakpoint(type: 'software' | 'hardware', address: bigint, setting: boolean): void {
    const { software, hardware } = this.#breakpoints;
    if (setting) {
      this.#stops.addBreakpoint(address);
      this.#breakpoints[type].add(address);
      return;
    }
    this.#breakpoints[type].delete(address);
    if (!software.has(address) && !hardware.has(address)) this.#stops.removeBreakpoint(address);
  }

  #watchpoint(on: Watchpoint['on'], address: bigint, kind: string, setting: boolean): void {
    const watchpoint: Watchpoint = { address, bytes: Number.parseInt(kind, 16) || 1, on };
    const same = (other: Watchpoint): boolean =>
      other.address === address && other.bytes === watchpoint.bytes && other.on === on;
    const index = this.#watchpoints.findIndex(same);
    if (setting) {
      this.#stops.addWatchpoint(watchpoint);
      if (index < 0) this.#watchpoints.push(watchpoint);
    } else {
      this.#stops.removeWatchpoint(watchpoint);
      if (index >= 0) this.#watchpoints.splice(index, 1);
    }
  }

  /** Said whenever a breakpoint lies here: without it gdb moves the PC back by one when it set one at the byte before. */
  reasonAt(rip: bigint): string {
    if (this.#breakpoints.hardware.has(rip)) return 'hwbreak:;';
    return this.#breakpoints.software.has(rip) ? 'swbreak:;' : '';
  }

  clear(): void {
    const { software, hardware } = this.#breakpoints;
    for (const address of new Set([...software, ...hardware])) this.#stops.removeBreakpoint(address);
    for (const watchpoint of this.#watchpoints) this.#stops.removeWatchpoint(watchpoint);
    software.clear();
    hardware.clear();
    this.#watchpoints.length = 0;
  }
}
