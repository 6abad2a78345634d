// Giving an epoch up, so that another node may raise it at once.
import {
  isStorageError,
  readOwner,
  releaseOwnership,
  type ObjectStore,
  type Ownership,
} from '@revenant/storage';

/** `known`: the ownership, when this process raised the epoch itself; one from before its restart is told by the record. */
export async function releaseEpoch(
  store: ObjectStore,
  { vmId, epoch, node, known }: { vmId: string; epoch: number; node: string; known: Ownership | undefined },
): Promise<'done' | 'fenced' | 'failed'> {
  try {
    const current = await readOwner(store, vmId);
    if (current?.record.epoch !== epoch || current.record.owner !== node || current.record.state !== 'owned')
      return 'fenced';
    const fromRecord = {
      vmId,
      epoch,
      owner: node,
      resumeFrom: null,
      chain: [],
      refused: [],
      stored: current,
    };
    await releaseOwnership(store, known ?? fromRecord);
    return 'done';
  } catch (error) {
    return isStorageError(error, 'FENCED') ? 'fenced' : 'failed';
  }
}
