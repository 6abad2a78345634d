/** Object stores and checkpoints. Knows nothing of x86. docs/CHECKPOINT_FORMAT.md describes what it writes. */
export {
  checkpointFileMagic,
  checkpointFileVersion,
  decodeCheckpointFile,
  encodeCheckpointFile,
  readCheckpointFile,
  readCheckpointFileWithOrigin,
  writeCheckpointFile,
  type CheckpointOrigin,
} from './checkpoint-file.ts';
export { CheckpointFileSource } from './checkpoint-file-source.ts';
export { LateCheckpointFile, type LateOptions } from './checkpoint-file-lazy.ts';
export * from './encryption.ts';
export { envelopeVersion } from './envelope.ts';
export * from './errors.ts';
export { decodeLz4Block, encodeLz4Block } from './lz4-block.ts';
export * from './host.ts';
export * from './ownership.ts';
export { retry, type RetryOptions, type StallEvent } from './retry.ts';
export * from './snapshot.ts';

export { FileStore, type FileStoreOptions } from './store/file-store.ts';
export {
  claimStore,
  identityKey,
  initStore,
  isStore,
  readIdentity,
  releaseStore,
  type StoreIdentity,
} from './store/identity.ts';
export { MemoryStore } from './store/memory-store.ts';
export * from './store/object-store.ts';
export * from './store/open-store.ts';
export * from './store/probe.ts';
export * from './store/records.ts';

export {
  checkBaseImage,
  baseImageName,
  importBaseImage,
  openBaseImage,
  type BaseImageOptions,
} from './checkpoint/base-image.ts';
export { keepBaseImage, type BaseImageInfo } from './checkpoint/base-manifest.ts';
export { BaseCollector, type BaseReport } from './checkpoint/collect-bases.ts';
export {
  PageClient,
  pageChannelMemory,
  PageServer,
  type PageChannelEnds,
  type PageServerOptions,
  type ServedPages,
} from './checkpoint/page-channel.ts';
export { snapshotHash } from './checkpoint/content-hash.ts';
export {
  exportCheckpointFile,
  importCheckpointFile,
  openCheckpointFile,
  type ExportProgress,
} from './checkpoint/export.ts';
export type { Refusal } from './checkpoint/find.ts';
export { insist } from './insist.ts';
export { compareIds, formatId, parseId, sameId, type CheckpointId } from './checkpoint/keys.ts';
export type { ManifestHead, WriteCounts } from './checkpoint/manifest.ts';
export {
  dropSnapshot,
  isSnapshotName,
  maxSnapshots,
  readSnapshots,
  requireSnapshot,
  revertToSnapshot,
  takeSnapshot,
  type KeptSnapshot,
} from './checkpoint/snapshots.ts';
export { checkpointToFork, forkVm, type Fork, type ForkOptions } from './checkpoint/fork.ts';
export { copyBaseImages, copyCheckpoint, type Copy, type CopyOptions } from './checkpoint/copy.ts';
export { holdCheckpoint, type Hold } from './checkpoint/hold.ts';
export { CheckpointPace, type PaceChange } from './checkpoint/pace.ts';
export { PagePool, type PagePoolOptions } from './checkpoint/page-pool.ts';
export { CheckpointReader, openCheckpoint, type OpenOptions, type ReadOptions } from './checkpoint/reader.ts';
export { readWorkingSet, saveWorkingSet, type WorkingSet } from './checkpoint/working-set.ts';
export { CheckpointWriter, type WriterOptions, type WrittenCheckpoint } from './checkpoint/writer.ts';

export { listSegments, readSegment, type LogPath, type TornSegment } from './log/chain.ts';
export { LogReader, type OpenLogOptions, type ReadEntry } from './log/reader.ts';
export type { LogResume } from './log/resume.ts';
export type { DecodedSegment, LogEntry, Segment, SegmentId, SegmentRef } from './log/segment.ts';
export {
  LogWriter,
  type Durable,
  type LogPosition,
  type LogState,
  type LogStatus,
  type LogWriterOptions,
} from './log/writer.ts';

export {
  collectGarbage,
  type CollectOptions,
  type CollectReport,
  type KnownManifest,
} from './checkpoint/collect.ts';
export { defaultRetention, parseRetention, type RetentionPolicy } from './checkpoint/retention.ts';
export { PatientStore } from './store/patient-store.ts';
export { ThreadStore } from './store/thread-store.ts';

export * from './inspect/diff.ts';
export * from './inspect/list.ts';
export * from './inspect/vm-size.ts';
export * from './inspect/pages.ts';
export * from './inspect/show.ts';
export * from './checkpoint/verify.ts';
