// Object stores and checkpoints. Knows nothing of x86.
export * from './checkpoint-file.ts';
export * from './errors.ts';
export * from './snapshot.ts';
