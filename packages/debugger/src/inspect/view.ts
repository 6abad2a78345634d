/** What the inspector looks into: one instant of a machine, its state and its pages, wherever they are. */

export interface InspectedSpace {
  name: string;
  pageSize: number;
  pageCount: number;
}

/** A checkpoint as `packages/storage` opens it has this shape; a page makes one of what a node answers. */
export interface CheckpointView {
  readonly spaces: readonly InspectedSpace[];
  readonly state: { readonly cpus: readonly unknown[] };
  /** Numbers of the pages that are not zero, ascending. */
  present(space: string): Uint32Array;
  /** In the order of `indexes`; zero pages come as zeros. */
  readPages(space: string, indexes: Uint32Array): Promise<Uint8Array>;
}

/** What was asked for is not in the checkpoint, or can't be asked for. */
export class InspectError extends Error {
  readonly code = 'INSPECT';
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.name = 'InspectError';
    this.hint = hint;
  }
}

/** Throws InspectError for a name that no space has. */
export function spaceOf(view: CheckpointView, name: string): InspectedSpace {
  const found = view.spaces.find((space) => space.name === name);
  if (found !== undefined) return found;
  throw new InspectError(
    `the checkpoint has no space ${name}`,
    `it has: ${view.spaces.map((space) => space.name).join(', ')}`,
  );
}
