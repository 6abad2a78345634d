/** What the page asks the worker that looks into checkpoints, and what it answers. */
import type { Process } from '@revenant/debugger/inspect';
import type { NodeAccess } from '../shared/node-files.ts';
import type { Picture } from '../shared/screen-canvas.tsx';

/** What is looked at: one checkpoint by its address, or the machine that was replayed from one where it stands now (`replayedFrom`). */
export interface Inspected {
  address: string;
}

const replayed = '#replayed';
/** @param at tells moments of a replay apart */
export const replayedFrom = (address: string, at: string): string => `${address}${replayed}${at}`;
export const isReplayed = (address: string): boolean => address.includes(replayed);

export interface MapPicture {
  space: string;
  pageSize: number;
  /** One of `PageKind` for each page. */
  kinds: Uint8Array;
}

export interface CodeLine {
  address: string;
  bytes: string;
  text: string;
  /** The processor stands here. */
  here: boolean;
}

export interface LinuxFound {
  banner: string;
  commandLine: string;
  /** Or why there are none. */
  processes: Process[] | string;
  /** The end of the kernel's log, or why there is none. */
  log: string[] | string;
}

export interface StateChange {
  path: string;
  before: string;
  after: string;
}

/** Where a replay stands. */
export interface Replayed {
  /** The guest's own time. */
  virtualMs: number;
  /** Retired so far, and up to which count it is known what came in; in decimal. */
  instructions: string;
  known: string;
  /** Why it stands before the moment that was asked for; empty: it stands there. */
  ended: string;
  /** What the guest said on its first serial port since the checkpoint. */
  serial: string;
  /** Absent: the machine has no display. */
  picture?: Picture;
}

export interface Changes {
  maps: MapPicture[];
  fields: StateChange[];
  /** So many more differ. */
  left: number;
}

/** By question: what goes with it, and what comes back. */
export interface Questions {
  /** As text in columns. */
  registers: { with: Inspected; answer: string };
  code: { with: Inspected & { at?: string }; answer: CodeLine[] };
  /** A dump of bytes at a linear address; by default where the stack ends. */
  memory: { with: Inspected & { at?: string }; answer: string };
  linux: { with: Inspected; answer: LinuxFound };
  /** Runs a checkpoint again up to a virtual time; undefined: another moment was asked for meanwhile. Only one is kept. */
  replay: { with: Inspected & { node: NodeAccess; toMs: number }; answer: Replayed | undefined };
  /** What changed since an earlier one of the same VM, `EPOCH-SEQUENCE`. */
  changes: { with: Inspected & { before: string; beforeAddress: string }; answer: Changes };
}
export type QuestionKind = keyof Questions;

export type ToInspector =
  | { [K in QuestionKind]: { id: number; kind: K; about: Questions[K]['with'] } }[QuestionKind]
  /** What the node answered, or why it did not. */
  | { read: number; bytes: Uint8Array<ArrayBuffer> }
  | { read: number; error: string };
export type FromInspector =
  | { id: number; answer: unknown }
  | { id: number; error: string }
  /** Wants what a node has at a path. */
  | { read: number; path: string }
  /** A long look goes on: done, of all. */
  | { id: number; done: number; of: number };
