/**
 * What tells a guest that it lives a second life: Microsoft's "Virtual Machine Generation ID" (2012), an identifier of 128 bits that lies in
 * memory, and the VMClock page (uapi-group.org/specifications/specs/vmclock; as Linux' vmclock-abi.h numbers its flags), of which the marker
 * of disruptions and the generation counter are given here, and no time. Both change by an input of the machine; the board tells the guest
 * by an ACPI event. Each is a page of its own that only the device writes.
 */
import { StatefulDevice, type AccessSize } from '../device.ts';
import { bytes, defineState, i64, record, u32, type Infer } from '../schema.ts';

const pageBytes = 0x1000;
/** Below the firmware and above the local APIC, where nothing else is. */
export const vmGenerationIdBase = 0xfef0_0000;
export const vmClockBase = 0xfef0_1000;
const idBytes = 16;

function readBytes(page: Uint8Array, offset: number, size: AccessSize): number {
  let value = 0;
  for (let n = 0; n < size; n++) value |= (page[offset + n] ?? 0) << (n * 8);
  return value >>> 0;
}

const idSchema = record({ id: bytes(idBytes) });
type IdState = Infer<typeof idSchema>;
const idDefinition = defineState<IdState>({ name: 'vmgenid', version: 1, schema: idSchema });

export class VmGenerationId extends StatefulDevice<IdState> {
  readonly name = 'vmgenid';
  readonly mmio = [{ base: vmGenerationIdBase, length: pageBytes, width: 4 as const }];

  constructor() {
    super(idDefinition, () => ({ id: new Uint8Array(idBytes) }));
  }

  /** A reset is no second life. */
  override reset(): void {}

  /** The generation as an identifier: both halves follow from it. */
  setGeneration(generation: bigint): void {
    const id = new DataView(new ArrayBuffer(idBytes));
    id.setBigUint64(0, generation, true);
    // An odd factor: no two generations share a second half either.
    id.setBigUint64(8, BigInt.asUintN(64, generation * 0x9e37_79b9_7f4a_7c15n), true);
    this.state.id = new Uint8Array(id.buffer);
  }

  readMemory(offset: number, size: AccessSize): number {
    return readBytes(this.state.id, offset, size);
  }
}

/** Offsets of struct vmclock_abi. */
const Clock = {
  magic: 0x00,
  size: 0x04,
  version: 0x08,
  counter: 0x0a,
  sequence: 0x0c,
  disruption: 0x10,
  flags: 0x18,
  generation: 0x68,
  bytes: 0x70,
} as const;
/** "VCLK" */
const magic = 0x4b4c_4356;
const noCounter = 0xff;
const Flag = { generationPresent: 1 << 8, notificationPresent: 1 << 9 } as const;

const clockSchema = record({ sequence: u32, generation: i64 });
type ClockState = Infer<typeof clockSchema>;
const clockDefinition = defineState<ClockState>({ name: 'vmclock', version: 1, schema: clockSchema });

export class VmClock extends StatefulDevice<ClockState> {
  readonly name = 'vmclock';
  readonly mmio = [{ base: vmClockBase, length: pageBytes, width: 4 as const }];

  constructor() {
    super(clockDefinition, () => ({ sequence: 0, generation: 0n }));
  }

  /** A reset is no second life. */
  override reset(): void {}

  setGeneration(generation: bigint): void {
    const { state } = this;
    // Odd would say that an update is under way: the guest never sees one, as it stands still meanwhile.
    state.sequence = (state.sequence + 2) >>> 0;
    state.generation = BigInt.asIntN(64, generation);
  }

  #page(): Uint8Array {
    const page = new Uint8Array(Clock.bytes);
    const view = new DataView(page.buffer);
    view.setUint32(Clock.magic, magic, true);
    view.setUint32(Clock.size, pageBytes, true);
    view.setUint16(Clock.version, 1, true);
    view.setUint8(Clock.counter, noCounter);
    view.setUint32(Clock.sequence, this.state.sequence, true);
    // A second life is a disruption of the processor's counter too. What counted it up would be the same in two lives.
    view.setBigInt64(Clock.disruption, this.state.generation, true);
    view.setUint32(Clock.flags, Flag.generationPresent | Flag.notificationPresent, true);
    view.setBigInt64(Clock.generation, this.state.generation, true);
    return page;
  }

  readMemory(offset: number, size: AccessSize): number {
    return offset >= Clock.bytes ? 0 : readBytes(this.#page(), offset, size);
  }
}
