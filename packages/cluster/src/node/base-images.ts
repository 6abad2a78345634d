/**
 * Disk images on their way into the store as base images, and firmware that starts what is on them, for who makes VMs at the page
 * (docs/CLUSTER_PROTOCOL.md, "API"). What no VM refers to is collected after a while, as all base images and blobs are.
 */
import { baseImageName, importBaseImage, keepBaseImage } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import { sha256 } from '../mac.ts';
import { firmwareRequestSchema, type FirmwareChosen } from '../protocol/images.ts';
import { maxDiskBytes } from '../protocol/limits.ts';
import { blobBytes, hasBlob, putBlob, readBlob } from '../stored/blobs.ts';
import { answerJson, type Answer } from './answers.ts';
import { bodyOf, readPieces, saidBodyHash } from './bodies.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';

/** Answers what is about disk images and firmware; false for any other request, to which nothing was answered. */
export async function baseImageRoute(node: ClusterNode, asked: string, answer: Answer): Promise<boolean> {
  const [, hash] = /^PUT \/v1\/disks\/([0-9a-f]{64})$/.exec(asked) ?? [];
  if (hash !== undefined) await takeDisk(node, hash, answer);
  else if (asked === 'POST /v1/firmware') await chooseFirmware(node, answer);
  else return false;
  return true;
}

/** To the store as it comes, page by page. */
async function takeDisk(node: ClusterNode, hash: string, answer: Answer): Promise<void> {
  const { request, response, caller, limits } = answer;
  requireRole(caller, 'admin', 'to store a disk image');
  if (saidBodyHash(request) !== hash)
    throw new ClusterError('BAD_REQUEST', 'the hash in the path is not that of the body');
  const pieces = readPieces(request, { bytes: maxDiskBytes, idleMs: limits.bodyIdleMs });
  const { key } = node.options;
  const name = baseImageName(hash);
  if (await keepBaseImage(node.store, name, { key })) {
    // As with blobs: its sender is heard out, so that it gets to read the answer.
    for await (const _piece of pieces);
  } else await importBaseImage(node.store, name, pieces, { key });
  answerJson(response, { hash });
}

/** Puts firmware into the store: the BIOS of a blob, or the host's, with the host's VGA BIOS before it. */
async function chooseFirmware(node: ClusterNode, answer: Answer): Promise<void> {
  requireRole(answer.caller, 'admin', 'to make a VM with firmware');
  const { bios } = await bodyOf(firmwareRequestSchema, answer);
  const own = bios === null ? undefined : await readBlob(node.store, bios);
  if (bios !== null && own === undefined)
    throw new ClusterError('BLOB_MISSING', `there is no blob ${bios}`, { hint: 'upload the BIOS (again)' });
  const firmware = await node.options.images?.firmware?.(own);
  if (firmware === undefined)
    throw new ClusterError('NOT_FOUND', `the host of ${node.options.name} has no firmware`, {
      hint: "install Debian's package seabios there",
    });
  const rom = sha256(firmware.rom);
  if (!(await hasBlob(node.store, rom))) {
    const room = answer.limits.blobsMiB * 2 ** 20 - (await blobBytes(node.store));
    await putBlob(node.store, rom, [firmware.rom], room);
  }
  const chosen: FirmwareChosen = { rom, optionRomBytes: firmware.optionRomBytes };
  answerJson(answer.response, chosen);
}
