/** The driver's side of a virtio-net device for tests: frames out and in. */
import { VirtioNet } from '../virtio/virtio-net.ts';
import { CardDriver } from './card-driver.ts';

export const netHeaderBytes = 12;
export const allFeatures = [0, 1, 3, 5, 7, 11, 15, 16, 17, 21];
const memoryBytes = 0x10_0000;

export class NetDriver extends CardDriver<VirtioNet> {
  readonly sent: Uint8Array[];

  constructor() {
    const sent: Uint8Array[] = [];
    super(
      ({ messages: _, ...card }) =>
        new VirtioNet({
          ...card,
          name: 'virtio-net-0',
          mac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56),
          mtu: 1500,
          transmit: (frame) => sent.push(frame.slice()),
        }),
      memoryBytes,
    );
    this.sent = sent;
  }

  override start(features: readonly number[] = allFeatures): void {
    super.start(features);
  }

  /** Sends a frame behind a header. */
  send(header: readonly number[], frame: Uint8Array): void {
    this.memory.bytes.fill(0, 0x8000, 0x8000 + netHeaderBytes);
    this.memory.bytes.set(header, 0x8000);
    this.memory.bytes.set(frame, 0x9000);
    this.submit(1, [
      { address: 0x8000, length: netHeaderBytes, write: false },
      { address: 0x9000, length: frame.length, write: false },
    ]);
  }
}
