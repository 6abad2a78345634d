/** Around a network card for tests: memory, clock and line, and what it sent. */
import type { NetworkCardOptions } from '../network/network-card.ts';
import { FakeClock, FakeLine } from './contract.ts';
import { FakeMemory } from './virtio-driver.ts';

export const cardMac = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

export class NetworkCardBench<C> {
  readonly memory: FakeMemory;
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly sent: Uint8Array[] = [];
  readonly device: C;

  constructor(
    make: (options: NetworkCardOptions) => C,
    { memoryBytes, firmware }: { memoryBytes: number; firmware: NetworkCardOptions['firmware'] },
  ) {
    this.memory = new FakeMemory(memoryBytes);
    const { memory, clock, irq } = this;
    const transmit = (frame: Uint8Array): void => void this.sent.push(frame.slice());
    this.device = make({ name: 'card-0', mac: cardMac, mtu: 1500, transmit, memory, clock, irq, firmware });
  }
}

/** A frame to somebody, whose bytes tell their place. */
export function frameTo(target: Uint8Array, length = 100): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, n) => n * 7);
  frame.set(target);
  return frame;
}
