/** How much of a store a VM takes. */
import { vmPrefix } from '../checkpoint/keys.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';

/**
 * Bytes of all that a VM holds in a store: checkpoints, log and records; not what it shares with others (base images, kernels).
 * @throws StoreError
 */
export async function storedBytes(store: ObjectStore, vmId: string): Promise<number> {
  let sum = 0;
  for await (const { sizeBytes } of listAll(store, vmPrefix(vmId))) sum += sizeBytes;
  return sum;
}
