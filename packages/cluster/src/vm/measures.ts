/** What is measured of VMs as it happens, by whoever keeps histograms (node/metrics.ts). In milliseconds. */

export interface Measures {
  /** A checkpoint stopped its guest for so long. */
  paused(ms: number): void;
  /** A checkpoint was durable so long after its guest stopped for it. */
  stored(ms: number): void;
  /** An output waited so long before it could leave. */
  waited(ms: number): void;
  /** From the order to take a VM over to its first instruction here. */
  tookOver(ms: number): void;
  /** A frame of a guest's network card. */
  frame(vm: string, direction: 'in' | 'out', bytes: number): void;
}
