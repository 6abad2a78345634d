/** What the machine gives to the core (imports of the module "host"). Sizes are 1, 2 or 4 bytes. */
export declare function ioRead(port: i32, size: i32): i32;
export declare function ioWrite(port: i32, size: i32, value: i32): void;
/**
 * Of up to `count` items that a repeated INS wants at `target` in linear memory, those that the device has ready and whose going changes nothing else in
 * it: how many there were. 0: they go one by one.
 */
export declare function ioReadBlock(port: i32, size: i32, target: u32, count: i32): i32;
/** Of `count` items of a repeated OUTS, those that the device only keeps. */
export declare function ioWriteBlock(port: i32, size: i32, source: u32, count: i32): i32;
export declare function mmioRead(addressLow: i32, addressHigh: i32, size: i32): i32;
export declare function mmioWrite(addressLow: i32, addressHigh: i32, size: i32, value: i32): void;
/** Tells the machine of a CpuEvent (cpu/layout.ts). */
export declare function cpuEvent(cpu: i32, what: i32): void;

/** Puts the contents of a missing guest-physical page there, and clears its flag in the physical map. */
export declare function pageIn(page: i32): void;

/** HostDuty.pages: number of the page (below 2^20) behind a physical address for an access (paging.ts), or -1. */
export declare function translatePage(addressLow: i32, addressHigh: i32, access: i32): i32;
/** Of a watchpoint that calls: before an access by linear address (AccessKind.readAfter: behind it), with the value of a write. */
export declare function memoryAccess(
  addressLow: i32,
  addressHigh: i32,
  size: i32,
  kind: i32,
  valueLow: i32,
  valueHigh: i32,
): void;
/** An instruction is executed that is the host's duty; not 0: the host has done it. */
export declare function instruction(duty: i32): i32;

/** What `cpuEvent` tells; the values of CpuEvent in cpu/layout.ts. */
export class CpuEvent {
  static readonly apicBase: i32 = 1;
  static readonly writeTscDeadline: i32 = 2;
  static readonly readTscDeadline: i32 = 3;
  static readonly taskPriority: i32 = 4;
  static readonly numericError: i32 = 5;
  static readonly look: i32 = 6;
  static readonly pause: i32 = 7;
}
