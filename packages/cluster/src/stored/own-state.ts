/** What a VM keeps of itself in a checkpoint, beside its devices. */
import * as v from 'valibot';
import type { MachineSnapshot, ObjectStore } from '@revenant/storage';
import { protectedKey, vmOf } from '../decisions/records.ts';
import { maxSessionName, maxSessions } from '../protocol/limits.ts';
import { checkTold } from '../protocol/open.ts';
import type { Nic } from '../protocol/network.ts';
import { protectedListSchema } from '../protocol/records.ts';
import { count, mapOf } from '../protocol/schema.ts';
import { readStored, storable } from './records.ts';

const vmDevice = 'revenant.vm';

const ownStateSchema = v.object({
  boot: v.optional(count, 0),
  /** By session of its console: how many of its bytes the guest has. */
  inputs: v.optional(mapOf(count, maxSessions, maxSessionName), {}),
  /** Of a fork that is its parent in everything: its guest is not told of its second life. */
  identical: v.optional(v.boolean(), false),
  /** Whether everything that was let out follows from the newest such state, with the log behind it. */
  exact: v.optional(v.boolean(), false),
  /** The first entry of the log that is not in it. */
  nextInput: v.optional(count, 1),
  /** The end of what was written on the console: who listens may not have it. */
  console: v.exactOptional(
    v.object({ at: count, bytes: v.custom<Uint8Array>((bytes) => bytes instanceof Uint8Array) }),
  ),
});
export type OwnState = v.InferOutput<typeof ownStateSchema>;

/** What the VM keeps of itself in a checkpoint. Throws ClusterError `PROTOCOL` for what is no such state. */
export function ownState(devices: MachineSnapshot['devices'] | undefined): OwnState {
  const own = devices === undefined || !Object.hasOwn(devices, vmDevice) ? undefined : devices[vmDevice];
  return checkTold(ownStateSchema, own?.state ?? {}, `the state of ${vmDevice}`);
}

/** All of a checkpoint but its pages. */
export type State = Omit<MachineSnapshot, 'spaces'>;

/** The same with that of the VM. Throws ClusterError `PROTOCOL` for what `ownState` would refuse: such a checkpoint could not be gone on from. */
export const withOwn = <T extends Pick<State, 'devices'>>(
  state: T,
  own: v.InferInput<typeof ownStateSchema>,
): T => ({
  ...state,
  devices: {
    ...state.devices,
    [vmDevice]: { version: 1, state: storable(ownStateSchema, own, `the state of ${vmDevice}`) },
  },
});

/**
 * What a new VM begins with that is made of a checkpoint of another: nothing that was typed at that one's console; after a power-off no more than
 * the disks. `newest`: it is the other's newest checkpoint.
 */
export function beginningState({ boot }: { boot: number }, newest: boolean): (state: State) => State {
  return (state) => {
    const off = newest && ownState(state.devices).boot < boot;
    return withOwn(state, { boot: off ? 0 : 1, inputs: {} });
  };
}

/**
 * A checkpoint whose first network card has this MAC: a driver reads it when it next asks, at the latest when the guest starts again. Until then the network
 * changes what the guest says (packages/network, `FormerSelf`).
 */
export function withMac(state: State, mac: string | undefined): State {
  const { networkCards: [first, ...others] = [] } = state.description as { networkCards?: object[] };
  if (first === undefined || mac === undefined) return state;
  const description = { ...(state.description as object), networkCards: [{ ...first, mac }, ...others] };
  return { ...state, description };
}

/** The card that the protected list in a store gives a VM. */
export async function storedNic(store: ObjectStore, vmId: string): Promise<Nic | undefined> {
  const list = (await readStored(store, protectedKey, protectedListSchema))?.value;
  return list && vmOf(list, vmId)?.nic;
}
