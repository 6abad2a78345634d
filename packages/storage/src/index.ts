// Object stores and checkpoints. Knows nothing of x86.
export * from './checkpoint-file.ts';
export * from './errors.ts';
export * from './snapshot.ts';
export * from './encryption.ts';
export * from './host.ts';
export * from './store/file-store.ts';
export * from './store/memory-store.ts';
export * from './store/object-store.ts';
export * from './store/open-store.ts';
export * from './store/probe.ts';
export * from './store/records.ts';
