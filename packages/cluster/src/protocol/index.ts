// The messages of a cluster: what nodes, clients and pages say to each other and keep in the store, with its bounds. Runs in a browser.
export * from './address.ts';
export * from './api.ts';
export * from './checkpoints.ts';
export * from './console-ends.ts';
export * from './console.ts';
export * from './display-ends.ts';
export * from './display.ts';
export * from './limits.ts';
export * from './link.ts';
export * from './msgpack.ts';
export * from './network.ts';
export * from './page.ts';
export * from './records.ts';
export { check, isBounded, isMap, whatIsWrong } from './schema.ts';
export * from './spec.ts';
export { TerminalQuestions } from './terminal-questions.ts';
export * from './version.ts';
