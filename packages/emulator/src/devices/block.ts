/** What a disk controller asks of the medium behind it. */

export const sectorBytes = 512;

/** Where the sectors are. `offset` and `length` are bytes, multiples of 512 inside of the disk. */
export interface BlockBackend {
  readonly bytes: number;
  readonly readOnly: boolean;
  read(offset: number, into: Uint8Array): void;
  write(offset: number, data: Uint8Array): void;
  /** What lies there reads as zeros from now on, and takes no room where it need not. */
  zero(offset: number, length: number): void;
  /** All that was written before is to last. */
  flush(): void;
}
