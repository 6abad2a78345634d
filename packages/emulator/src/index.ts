/**
 * The library: make a machine from a description and backends, run it for a number of instructions or until something happens, give it
 * input, look at registers, memory and screen, take snapshots and go on from them. Runs in Node and in browsers.
 *
 * @example
 * const machine = await createMachine({ description: { memoryBytes: 64 << 20 }, engine: nodeEngine });
 * machine.boot(plan);
 * const result = machine.run({ instructions: 1_000_000 });
 */
export { createMachine, restoreMachine } from './machine/create.ts';
export type { CreateMachineOptions } from './machine/create.ts';
export { Machine } from './machine/machine.ts';
export type { MachineParts } from './machine/machine.ts';
export type { RunOptions, RunReason, RunResult } from './machine/scheduler.ts';
export {
  cpuModels,
  defaultDescription,
  describeMachine,
  hasLongMode,
  hostedDevices,
  networkCardModels,
  optionalDevices,
} from './machine/description.ts';
export type {
  CpuModelName,
  DiskDescription,
  DiskRequest,
  MachineDescription,
  MachineRequest,
  NetworkCardDescription,
  NetworkCardModel,
  OptionalDevice,
} from './machine/description.ts';
export type { AbsentPages } from './machine/absent-pages.ts';
export { DiskFormatError } from './disk-formats/errors.ts';
export {
  convertible,
  headBytes,
  imageKind,
  isConvertible,
  tailBytes,
  type ImageKind,
} from './disk-formats/kind.ts';
export { Qcow2Image, type BackingDisk, type Decompressors } from './disk-formats/qcow2.ts';
export { Qcow2Writer } from './disk-formats/qcow2-writer.ts';
export type { ImageFile, Qcow2Snapshot } from './disk-formats/qcow2-header.ts';
export { floppyBytesFor } from './devices/floppy/floppy-media.ts';
export { bootDevices, type BootDevice, type DiskAttachment } from './machine/description.ts';
export { diskPageBytes, DiskSpace, type DiskBacking } from './machine/disk-space.ts';
export type { Bookmark } from './machine/bookmarks.ts';
export type { Stops, Watchpoint, WatchHit } from './machine/stops.ts';
export { hasAvx } from './cpu/cpuid-models.ts';
export { HaltState, maxCpus } from './cpu/layout.ts';
export { MachineError } from './machine/errors.ts';
export type { MachineErrorCode } from './machine/errors.ts';
export type { MachineBackends } from './machine/boards/board.ts';
export { generationPort } from './machine/boards/microvm.ts';
export * from './machine/edge/index.ts';
export { LivePace, type PacedMachine, type PaceHost } from './machine/pace.ts';
export { logBehind } from './machine/replay.ts';
export { PageBuffers } from './machine/page-buffers.ts';
export type { DescribedSnapshot, MachineSnapshot, SpaceSnapshot } from './machine/snapshot.ts';
export { gprNames, type GprName } from './cpu/registers.ts';
export type { CpuState, SegmentState } from './machine/cpu-state.ts';
export type { Engine, EngineCore, EngineFactory, EngineHost } from './machine/engine-interface.ts';
export { sha256, toHex, type Hash, type HashFactory } from './machine/hash.ts';
export { DeviceStateError } from './devices/schema.ts';
export { GenerationPort } from './devices/system/debug-ports.ts';
export { tabletPlace } from './devices/tablet-place.ts';
export { keyCodes } from './devices/input/ps2-keyboard.ts';
export { uartBacklogLimit } from './devices/serial/uart-16550a.ts';
export type { TextScreen } from './devices/video/vga-text.ts';
export { differences, DisplayWatcher, picturePixels, type Rectangle } from './devices/video/display.ts';
export type { Picture } from './devices/video/vga-renderer.ts';
export { textPicture } from './devices/video/text-picture.ts';
export { savedPicture, savedScreen } from './devices/video/saved-screen.ts';
export { glyph, glyphHeight, glyphWidth } from './devices/video/font.ts';
export { character437, screenLines } from './devices/video/screen-text.ts';
export { createEngine } from './engine/engine.ts';
export type { EngineModules, WasmEngine } from './engine/engine.ts';
export type { RegionBlock, RegionInfo } from './translator/observe.ts';
export * from './boot/index.ts';
export { disassemble, disassembleOne } from './disassembler/index.ts';
export type { CodeMode, Disassembled } from './disassembler/index.ts';
