/**
 * Names of objects (docs/CHECKPOINT_FORMAT.md, "Keys"). Everything of one VM lies under its own prefix. What VMs share is read-only:
 * base images, and the packs that a fork began with (fork.ts).
 */
import { StorageError } from '../errors.ts';

/** One checkpoint of a VM. Sequences go on rising across epochs. */
export interface CheckpointId {
  epoch: number;
  sequence: number;
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const numberDigits = 10;
const maxNumber = 10 ** numberDigits - 1;

/** True for 1-63 of `[A-Za-z0-9._-]`, beginning with a letter or digit. */
export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** Throws `BAD_ARGUMENT` unless `name` can be part of a key: 1-63 of `[A-Za-z0-9._-]`, beginning with a letter or digit. */
export function checkName(what: string, name: string): void {
  if (!namePattern.test(name))
    throw new StorageError('BAD_ARGUMENT', `${what} ${JSON.stringify(name)} is not a valid name`, {
      hint: 'use 1 to 63 letters, digits, dots, underscores or hyphens',
    });
}

const digits = (value: number): string => {
  if (!Number.isInteger(value) || value < 0 || value > maxNumber)
    throw new StorageError('BAD_ARGUMENT', `${String(value)} is no epoch or sequence number`);
  return String(value).padStart(numberDigits, '0');
};

export const vmsPrefix = 'vms/';
export const vmPrefix = (vmId: string): string => {
  checkName('VM', vmId);
  return `${vmsPrefix}${vmId}/`;
};
export const ownerKey = (vmId: string): string => `${vmPrefix(vmId)}owner`;
export const workingSetKey = (vmId: string): string => `${vmPrefix(vmId)}working-set`;
export const manifestsPrefix = (vmId: string): string => `${vmPrefix(vmId)}manifests/`;
export const packsPrefix = (vmId: string): string => `${vmPrefix(vmId)}packs/`;
export const condemnedPrefix = (vmId: string): string => `${vmPrefix(vmId)}condemned/`;
export const holdsPrefix = (vmId: string): string => `${vmPrefix(vmId)}holds/`;
export const forksPrefix = (vmId: string): string => `${vmPrefix(vmId)}forks/`;
export const snapshotsKey = (vmId: string): string => `${vmPrefix(vmId)}snapshots`;
export const logPrefix = (vmId: string): string => `${vmPrefix(vmId)}log/`;
export const basesPrefix = 'bases/';
export const basePrefix = (name: string): string => {
  checkName('base image', name);
  return `${basesPrefix}${name}/`;
};

export const manifestKey = (vmId: string, id: CheckpointId): string =>
  `${manifestsPrefix(vmId)}${digits(id.epoch)}-${digits(id.sequence)}`;

/** Name of the `ordinal`th pack written for a checkpoint. The nonce keeps attempts apart. */
export const packName = (id: CheckpointId, ordinal: number, nonce: string): string =>
  `${digits(id.epoch)}-${digits(id.sequence)}-${String(ordinal).padStart(4, '0')}-${nonce.slice(0, 16)}`;

/** A segment of a VM's input log: the `ordinal`th of an epoch. */
export const segmentKey = (vmId: string, { epoch, ordinal }: { epoch: number; ordinal: number }): string =>
  `${logPrefix(vmId)}${digits(epoch)}-${digits(ordinal)}`;

/** The checkpoint that a manifest key or a pack name belongs to; undefined for foreign names. */
export function idOfName(key: string): CheckpointId | undefined {
  const match = /^(?:.*\/)?(\d{10})-(\d{10})(?:-.*)?$/.exec(key);
  return match ? { epoch: Number(match[1]), sequence: Number(match[2]) } : undefined;
}

/** `EPOCH-SEQUENCE`, the form people type. */
export function formatId(id: CheckpointId): string {
  return `${String(id.epoch)}-${String(id.sequence)}`;
}

const idText = /^(\d{1,10})-(\d{1,10})$/;

/** Whether `parseId` takes it. */
export const isIdText = (text: unknown): text is string => typeof text === 'string' && idText.test(text);

/** Parses `EPOCH-SEQUENCE`. Throws `BAD_ARGUMENT`. */
export function parseId(text: string): CheckpointId {
  const match = idText.exec(text);
  if (!match)
    throw new StorageError('BAD_ARGUMENT', `${JSON.stringify(text)} is no checkpoint`, {
      hint: 'write EPOCH-SEQUENCE, as in 3-120',
    });
  return { epoch: Number(match[1]), sequence: Number(match[2]) };
}

export function compareIds(a: CheckpointId, b: CheckpointId): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}

export function sameId(a: CheckpointId | null, b: CheckpointId | null): boolean {
  return a === b || (a !== null && b !== null && compareIds(a, b) === 0);
}
