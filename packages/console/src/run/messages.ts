/** What the page and the worker that runs its guest say to each other. */
import type { Picture, PointerMove, PointerPlace } from '../shared/screen-canvas.tsx';

/** What is started. */
export type GuestRequest =
  | { kind: 'builtin' }
  /** A checkpoint file. */
  | { kind: 'checkpoint'; bytes: Uint8Array<ArrayBuffer> }
  /** One that the node has which serves the page: `/v1/vms/ID/checkpoints/EPOCH-SEQUENCE`, or `…/latest`. */
  | { kind: 'remote'; address: string }
  | {
      kind: 'kernel';
      kernel: Uint8Array;
      initrd?: Uint8Array;
      commandLine: string;
      memoryBytes: number;
      longMode: boolean;
    };

export type EngineChoice = 'translator' | 'interpreter';

export type ToGuest =
  /** `modules`: address of the folder with the processor's WebAssembly modules. */
  | { type: 'start'; request: GuestRequest; modules: string; engine: EngineChoice }
  | { type: 'serial'; bytes: Uint8Array }
  | { type: 'key'; code: string; pressed: boolean }
  | ({ type: 'pointer' } & PointerMove)
  | ({ type: 'point' } & PointerPlace)
  | { type: 'pause'; paused: boolean }
  | { type: 'power-button' }
  | { type: 'reset' };

export type GuestState = 'loading' | 'running' | 'paused' | 'ended';

export interface GuestProgress {
  instructions: bigint;
  /** Virtual time in ns. */
  timeNs: bigint;
}

export type FromGuest =
  | { type: 'state'; state: GuestState; reason?: string }
  | { type: 'serial'; bytes: Uint8Array }
  | { type: 'picture'; picture: Picture }
  /** Whether the guest's pointer goes to the place that it is told. */
  | { type: 'takes-places'; places: boolean }
  | ({ type: 'progress' } & GuestProgress);
