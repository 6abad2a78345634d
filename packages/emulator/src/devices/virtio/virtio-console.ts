/**
 * Virtio console device: VIRTIO Version 1.2, section 5.3, over PCI (virtio-pci.ts), with several ports (MULTIPORT). Port 0 is a console
 * (`hvc0` in Linux), port 1 a channel with a name for a program in the guest. A driver that knows one port only has the console.
 *
 * What arrives for a port waits with the machine's inputs until the driver has buffers, and, but for the console, until somebody in the
 * guest has opened the port: drivers drop what comes before.
 */
import { VirtioPciDevice, type VirtioCardOptions } from './virtio-pci.ts';
import { gather, scatter, totalLength, type Chain } from './virtqueue.ts';

const deviceType = 3;
/** Simple communication controller, other: PCI Code and ID Assignment 1.11, base class 07h. */
const classCode = 0x07_8000;
/** 5.3.3 */
const Feature = { multiport: 1 } as const;
/** 5.3.2 */
const Queue = {
  receive: 0,
  transmit: 1,
  controlReceive: 2,
  controlTransmit: 3,
  moreReceive: 4,
  moreTransmit: 5,
} as const;
const queueSizes = [128, 128, 32, 32, 128, 128] as const;
/** 5.3.4: columns, rows, max_nr_ports, emerg_wr. */
const Config = { columns: 0, rows: 2, ports: 4, bytes: 12 } as const;
const portCount = 2;
const size = { columns: 80, rows: 25 } as const;
/** 5.3.6.2: struct virtio_console_control. */
const Control = { id: 0, event: 4, value: 6, bytes: 8 } as const;
const Event = {
  deviceReady: 0,
  portAdd: 1,
  portReady: 3,
  consolePort: 4,
  resize: 5,
  portOpen: 6,
  portName: 7,
} as const;
/** More than drivers put into one buffer. */
const maxBytes = 0x1_0000;
const latencyNs = 20_000n;

/** `registers` 0: bits of messages to the driver that wait for a buffer, a byte for each port, sent in this order. */
const waiting = [Event.portAdd, Event.consolePort, Event.resize, Event.portName, Event.portOpen] as const;
/** `registers` 1: a bit for each port that somebody in the guest has open. */
const Register = { waiting: 0, open: 1 } as const;
const bitsPerPort = 8;

export interface VirtioConsoleOptions extends VirtioCardOptions {
  /** Takes what the guest wrote to a port. */
  transmit: (port: number, bytes: Uint8Array) => void;
  /** ASCII; what the guest finds the channel by. */
  channelName: string;
}

export class VirtioConsole extends VirtioPciDevice {
  readonly #transmit: VirtioConsoleOptions['transmit'];
  readonly #channelName: Uint8Array;

  constructor({ transmit, channelName, ...card }: VirtioConsoleOptions) {
    super({
      ...card,
      type: deviceType,
      classCode,
      queueSizes,
      latencyNs,
      features: [Feature.multiport],
      registers: [0, 0],
    });
    this.#transmit = transmit;
    this.#channelName = new TextEncoder().encode(channelName);
  }

  protected configuration(): Uint8Array {
    const bytes = new Uint8Array(Config.bytes);
    const view = new DataView(bytes.buffer);
    view.setUint16(Config.columns, size.columns, true);
    view.setUint16(Config.rows, size.rows, true);
    view.setUint32(Config.ports, portCount, true);
    return bytes;
  }

  protected override servesQueue(queue: number): boolean {
    return queue === Queue.transmit || queue === Queue.controlTransmit || queue === Queue.moreTransmit;
  }

  protected override buffersAdded(queue: number): void {
    if (queue === Queue.controlReceive) this.#sendControls();
  }

  protected override driverReset(): void {
    this.state.registers = [0, 0];
  }

  protected perform({ readable, writable }: Chain, queue: number): number | 'broken' {
    const length = totalLength(readable);
    if (writable.length > 0 || length > maxBytes) return 'broken';
    const bytes = gather(this.memory, readable, length);
    if (queue === Queue.controlTransmit) this.#control(bytes);
    else if (length > 0) this.#transmit(queue === Queue.transmit ? 0 : 1, bytes);
    return 0;
  }

  /** 5.3.6.2: what the driver says of itself and of its ports. */
  #control(bytes: Uint8Array): void {
    if (bytes.length < Control.bytes) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const port = view.getUint32(Control.id, true);
    const value = view.getUint16(Control.value, true);
    switch (view.getUint16(Control.event, true)) {
      case Event.deviceReady:
        for (let one = 0; value === 1 && one < portCount; one++) this.#tell(one, Event.portAdd);
        break;
      case Event.portReady:
        if (port >= portCount || value !== 1) break;
        if (port === 0) {
          this.#tell(port, Event.consolePort);
          this.#tell(port, Event.resize);
        } else this.#tell(port, Event.portName);
        this.#tell(port, Event.portOpen);
        break;
      case Event.portOpen:
        if (port < portCount) this.#setOpen(port, value === 1);
        break;
      default: // others are the device's
    }
    this.#sendControls();
  }

  #setOpen(port: number, open: boolean): void {
    const before = this.state.registers[Register.open] ?? 0;
    this.state.registers[Register.open] = open ? before | (1 << port) : before & ~(1 << port);
  }

  #tell(port: number, event: (typeof waiting)[number]): void {
    const bit = 1 << (port * bitsPerPort + waiting.indexOf(event));
    this.state.registers[Register.waiting] = ((this.state.registers[Register.waiting] ?? 0) | bit) >>> 0;
  }

  /** As many messages as the driver has buffers for. */
  #sendControls(): void {
    for (let port = 0; port < portCount; port++)
      for (const [n, event] of waiting.entries()) {
        const bit = 1 << (port * bitsPerPort + n);
        if (!((this.state.registers[Register.waiting] ?? 0) & bit)) continue;
        const message = this.#message(port, event);
        const chains = this.takeBuffers(Queue.controlReceive, { bytes: message.length, most: 1 });
        if (chains === undefined) return;
        this.state.registers[Register.waiting] = (this.state.registers[Register.waiting] ?? 0) & ~bit;
        if (chains === 'never') continue;
        const used = chains.map(({ head, writable }) => {
          scatter(this.memory, writable, message);
          return { head, written: message.length };
        });
        this.giveBuffers(Queue.controlReceive, used);
      }
  }

  #message(port: number, event: (typeof waiting)[number]): Uint8Array {
    const head = new DataView(new ArrayBuffer(Control.bytes));
    head.setUint32(Control.id, port, true);
    head.setUint16(Control.event, event, true);
    head.setUint16(Control.value, 1, true);
    const tail =
      event === Event.portName
        ? [...this.#channelName, 0]
        : event === Event.resize
          ? [size.columns, 0, size.rows, 0]
          : [];
    return Uint8Array.from([...new Uint8Array(head.buffer), ...tail]);
  }

  /** Bytes arrive at a port; returns how many the driver had buffers for. The channel takes all of them or none: a message is never cut. */
  receive(port: number, bytes: Uint8Array): number {
    if (port >= portCount || !this.live) return 0;
    const several = this.accepted(Feature.multiport);
    if (port > 0 && !(several && (this.state.registers[Register.open] ?? 0) & (1 << port))) return 0;
    const queue = port === 0 ? Queue.receive : Queue.moreReceive;
    const wanted = port === 0 ? { bytes: 1, most: 1 } : { bytes: bytes.length, most: queueSizes[queue] };
    let taken = 0;
    while (taken < bytes.length) {
      const chains = this.takeBuffers(queue, wanted);
      if (chains === undefined || chains === 'never') break;
      const used = chains.map(({ head, writable }) => {
        const part = bytes.subarray(taken, taken + totalLength(writable));
        scatter(this.memory, writable, part);
        taken += part.length;
        return { head, written: part.length };
      });
      this.giveBuffers(queue, used);
    }
    return taken;
  }

  protected override checkState(state: VirtioConsole['state']): void {
    super.checkState(state);
    const [messages = 0, open = 0] = state.registers;
    const all = (1 << waiting.length) - 1;
    if (messages & ~(all | (all << bitsPerPort))) this.refuseState('a message waits that it never sends');
    if (open >>> portCount !== 0) this.refuseState('a port is open that it does not have');
  }
}
