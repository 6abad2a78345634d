/**
 * The port and the memory bus. An access wider than the device's width is split into several, lowest address
 * first, as the ISA bus controller does. What nobody claims reads as all ones and swallows writes.
 */
import { allOnes, type AccessSize, type Device, type MmioRange } from './device.ts';

interface PortClaim {
  device: Device;
  width: AccessSize;
}
interface MmioClaim {
  device: Device;
  range: MmioRange;
}

/** Who answers where no device has a fixed port: functions of a PCI bus, whose registers move them about. */
export interface MovablePorts {
  /** Undefined, or false, when nobody decodes the port. */
  readRange(port: number, size: AccessSize): number | undefined;
  writeRange(port: number, size: AccessSize, value: number): boolean;
}

/** Two devices want the same address: a mistake in the machine's wiring. */
export class BusConflictError extends Error {
  readonly code = 'BUS_CONFLICT';
  constructor(message: string) {
    super(message);
    this.name = 'BusConflictError';
  }
}

export class Bus {
  readonly #claims: PortClaim[] = [];
  /** Index into #claims plus 1; 0 = nobody. */
  readonly #ports = new Uint8Array(0x1_0000);
  readonly #mmio: MmioClaim[] = [];
  movable: MovablePorts | undefined;

  /** Throws BusConflictError. */
  attach(device: Device): void {
    for (const { first, last, width = 1 } of device.ports ?? []) {
      this.#claims.push({ device, width });
      for (let port = first; port <= last; port++) {
        if (this.#ports[port] !== 0)
          throw new BusConflictError(`${device.name}: port 0x${port.toString(16)} is taken`);
        this.#ports[port] = this.#claims.length;
      }
    }
    for (const range of device.mmio ?? []) {
      const clash = this.#mmio.find(
        (other) =>
          range.base < other.range.base + other.range.length && other.range.base < range.base + range.length,
      );
      if (clash !== undefined)
        throw new BusConflictError(`${device.name}: memory 0x${range.base.toString(16)} is taken`);
      this.#mmio.push({ device, range });
    }
  }

  readPort(port: number, size: AccessSize): number {
    const device = this.#wide(port, size);
    if (device !== undefined) return truncate(device.readPort?.(port, size) ?? allOnes(size), size);
    const moved = this.#ports[port] === 0 ? this.movable?.readRange(port, size) : undefined;
    if (moved !== undefined) return truncate(moved, size);
    if (size === 1) return 0xff;
    const half = (size >> 1) as AccessSize;
    const low = this.readPort(port, half);
    const high = this.readPort((port + half) & 0xffff, half);
    return (low | (high << (half * 8))) >>> 0;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    const device = this.#wide(port, size);
    if (device !== undefined) {
      device.writePort?.(port, size, truncate(value, size));
      return;
    }
    if (this.#ports[port] === 0 && this.movable?.writeRange(port, size, truncate(value, size)) === true)
      return;
    if (size === 1) return;
    const half = (size >> 1) as AccessSize;
    this.writePort(port, half, truncate(value, half));
    this.writePort((port + half) & 0xffff, half, truncate(value >>> (half * 8), half));
  }

  /** Whole items that the device at a port has ready (Device.readItems). 0: they are to be read one by one. */
  readItems(port: number, size: AccessSize, into: Uint8Array): number {
    return this.#wide(port, size)?.readItems?.(port, size, into) ?? 0;
  }

  writeItems(port: number, size: AccessSize, from: Uint8Array): number {
    return this.#wide(port, size)?.writeItems?.(port, size, from) ?? 0;
  }

  /** The device with a fixed port that takes accesses of this size whole. */
  #wide(port: number, size: AccessSize): Device | undefined {
    const claim = this.#claims[(this.#ports[port] ?? 0) - 1];
    return claim !== undefined && size <= claim.width && this.#sameClaim(port, size)
      ? claim.device
      : undefined;
  }

  #sameClaim(port: number, size: AccessSize): boolean {
    return port + size <= 0x1_0000 && this.#ports[port] === this.#ports[port + size - 1];
  }

  readMemory(address: number, size: AccessSize): number {
    const claim = this.#find(address, size);
    if (claim !== undefined) {
      const offset = address - claim.range.base;
      return truncate(claim.device.readMemory?.(offset, size, claim.range) ?? allOnes(size), size);
    }
    if (size === 1) return 0xff;
    const half = (size >> 1) as AccessSize;
    const low = this.readMemory(address, half);
    return (low | (this.readMemory(address + half, half) << (half * 8))) >>> 0;
  }

  writeMemory(address: number, size: AccessSize, value: number): void {
    const claim = this.#find(address, size);
    if (claim !== undefined) {
      claim.device.writeMemory?.(address - claim.range.base, size, truncate(value, size), claim.range);
      return;
    }
    if (size === 1) return;
    const half = (size >> 1) as AccessSize;
    this.writeMemory(address, half, truncate(value, half));
    this.writeMemory(address + half, half, truncate(value >>> (half * 8), half));
  }

  #find(address: number, size: AccessSize): MmioClaim | undefined {
    return this.#mmio.find(({ range }) => {
      const offset = address - range.base;
      return offset >= 0 && offset + size <= range.length && size <= (range.width ?? 1);
    });
  }
}

function truncate(value: number, size: AccessSize): number {
  return size === 4 ? value >>> 0 : size === 2 ? value & 0xffff : value & 0xff;
}
