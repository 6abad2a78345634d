/** What a person wants of a VM (`VmSpec`), and the commands that ask for it. */
import * as v from 'valibot';
import { maxCommandId, maxName, maxNodes } from './limits.ts';
import { networkName, networkSpecSchema, nicSchema, vmNetworkSchema } from './network.ts';
import { count, isBounded, list, nodeName, opaque, reason, text, vmName } from './schema.ts';

export const healthSigns = ['console', 'screen', 'instructions'] as const;
export const minSilentMs = 1000;
export const minCheckpointMs = 10;
export const minStoreQuotaBytes = 2 ** 20;

/**
 * When what a VM says leaves its node: `async`, at once, and a failover may repeat or lose what was said since the last checkpoint;
 * `checkpoint`, when a checkpoint behind it is durable; `log`, when the log of the VM's inputs is durable up to it; `standby`, when another
 * node's machine that follows it holds that log, or else the store. With all but the first nothing that anybody saw is ever taken back.
 */
export const outputPolicies = ['async', 'checkpoint', 'log', 'standby'] as const;
export const outputPolicySchema = v.picklist(outputPolicies, `must be one of ${outputPolicies.join(', ')}`);
export type OutputPolicy = v.InferOutput<typeof outputPolicySchema>;

const finite = v.pipe(v.number(), v.finite());

export const healthPolicySchema = v.strictObject({
  /** What changes while the guest is well: output on its console, its text screen, retired instructions. Disk requests always count too. */
  watch: v.picklist(healthSigns, `must be one of ${healthSigns.join(', ')}`),
  /** Without a sign for so long the guest is hung. */
  silentMs: v.pipe(finite, v.minValue(minSilentMs, `must be at least ${String(minSilentMs)}`)),
});
export type HealthPolicy = v.InferOutput<typeof healthPolicySchema>;

export const storeQuotaSchema = v.pipe(
  finite,
  v.integer(),
  v.minValue(minStoreQuotaBytes, `must be at least ${String(minStoreQuotaBytes)} bytes`),
);

const nodeNames = v.pipe(list(nodeName, maxNodes), v.minLength(1));

/** Where it may run, and rather runs. */
export const placementRules = {
  /** Only there: while none of them can take it, it waits. */
  nodes: nodeNames,
  /** There while one of them can take it. */
  prefers: nodeNames,
  /** On a node with another VM of this group, where one has room. */
  affinity: text(maxName),
  /** VMs of one group are never on one node together. */
  antiAffinity: text(maxName),
};

/** A change of each rule: null takes it away. */
const ruleChanges = {
  nodes: v.exactOptional(v.nullable(placementRules.nodes)),
  prefers: v.exactOptional(v.nullable(placementRules.prefers)),
  affinity: v.exactOptional(v.nullable(placementRules.affinity)),
  antiAffinity: v.exactOptional(v.nullable(placementRules.antiAffinity)),
};

export const vmSpecSchema = v.pipe(
  v.strictObject({
    /** Which runtime executes it: `chain` (built in) or `machine` (the emulator). */
    runtime: text(maxName),
    /** What the runtime builds it from; opaque here. */
    description: opaque,
    memoryMiB: v.pipe(finite, v.gtValue(0, 'must be above zero')),
    /** Higher is restarted first. */
    priority: finite,
    nodes: v.exactOptional(placementRules.nodes),
    prefers: v.exactOptional(placementRules.prefers),
    affinity: v.exactOptional(placementRules.affinity),
    antiAffinity: v.exactOptional(placementRules.antiAffinity),
    checkpointMs: v.exactOptional(
      v.pipe(finite, v.minValue(minCheckpointMs, `must be at least ${String(minCheckpointMs)}`)),
    ),
    /** Of a fork: what it began with. */
    origin: v.exactOptional(v.strictObject({ vm: vmName, checkpoint: text(maxName) })),
    /** When its guest counts as hung. Default: never. */
    health: v.exactOptional(healthPolicySchema),
    /** The network that its card is in. Default: it has no card. */
    network: v.exactOptional(vmNetworkSchema),
    outputs: outputPolicySchema,
    /** Another node's machine follows it, whatever its outputs wait for: only where a log of its inputs is kept. */
    standby: v.exactOptional(v.boolean()),
    /** How much its checkpoints and its log may hold in the store: then its guest stands still. Default: no limit. */
    storeQuotaBytes: v.exactOptional(storeQuotaSchema),
  }),
  v.check((spec) => isBounded(spec), 'too large'),
);
export type VmSpec = v.InferOutput<typeof vmSpecSchema>;

/** Whether a log of its inputs is kept. */
export const keepsLog = (policy: OutputPolicy): boolean => policy === 'log' || policy === 'standby';
/** Whether a second machine is to follow it. */
export const wantsStandby = ({ outputs, standby }: Pick<VmSpec, 'outputs' | 'standby'>): boolean =>
  outputs === 'standby' || (standby === true && keepsLog(outputs));

const onVm = <T extends string>(type: T) => v.strictObject({ type: v.literal(type), vmId: vmName });
const onNode = <T extends string>(type: T) => v.strictObject({ type: v.literal(type), node: nodeName });

/** What people ask for. Each command is one change of the protected list. */
export const commandSchema = v.variant('type', [
  v.strictObject({
    type: v.literal('vm-create'),
    vmId: vmName,
    spec: vmSpecSchema,
    start: v.boolean(),
    /** The card that it had, of one that is restored. Default: the first that is free in its network. */
    nic: v.exactOptional(nicSchema),
  }),
  onVm('vm-start'),
  onVm('vm-stop'),
  onVm('vm-pause'),
  onVm('vm-resume'),
  onVm('vm-delete'),
  /** Changes what is given of its spec, while it runs or not. */
  v.strictObject({
    type: v.literal('vm-set'),
    vmId: vmName,
    outputs: v.exactOptional(outputPolicySchema),
    standby: v.exactOptional(v.boolean()),
    /** null: no limit. */
    storeQuotaBytes: v.exactOptional(v.nullable(storeQuotaSchema)),
    ...ruleChanges,
  }),
  v.strictObject({ type: v.literal('vm-migrate'), vmId: vmName, to: v.exactOptional(nodeName) }),
  onNode('drain'),
  onNode('undrain'),
  /** A node that is over is no longer shown: this session of it, or one before. */
  v.strictObject({ type: v.literal('node-remove'), node: nodeName, incarnation: count }),
  v.strictObject({ type: v.literal('rebalance') }),
  /** Whether crowded nodes give VMs to emptier ones by themselves. */
  v.strictObject({ type: v.literal('balancing'), automatic: v.boolean() }),
  /** No VM is taken from a node, nor started again after a failure, until it is armed again. */
  v.strictObject({ type: v.literal('disarm'), reason }),
  v.strictObject({ type: v.literal('arm') }),
  v.strictObject({ type: v.literal('network-create'), network: networkName, spec: networkSpecSchema }),
  v.strictObject({ type: v.literal('network-delete'), network: networkName }),
]);
export type Command = v.InferOutput<typeof commandSchema>;

/** Chosen by who asks: the same id is carried out once. */
export const commandId = v.pipe(v.string(), v.minLength(1), v.maxLength(maxCommandId));
