/** Guest images that a node's host has: what is offered to people at the page, by name, and how one gets into the store. */
import type { ServerResponse } from 'node:http';
import { ClusterError } from '../errors.ts';
import { sha256 } from '../mac.ts';
import type { ImageChosen, OfferedImage } from '../protocol/images.ts';
import { blobBytes, hasBlob, putBlob } from '../stored/blobs.ts';
import { answerJson, type Answer } from './answers.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';

/** Images of the host, whoever keeps them. */
export interface ImageShelf {
  list: () => Promise<OfferedImage[]>;
  /** Undefined: there is none of this name. */
  read: (name: string) => Promise<{ kernel: Uint8Array; initrd: Uint8Array } | undefined>;
  /** A machine's ROM with a BIOS, the host's own by default, behind its VGA BIOS. Undefined: the host has none. */
  firmware?: (bios?: Uint8Array) => Promise<{ rom: Uint8Array; optionRomBytes: number } | undefined>;
}

const pathPattern = /^(GET|POST) \/v1\/images(?:\/([A-Za-z0-9][A-Za-z0-9._-]{0,62}))?$/;

/** Answers what is about images; false for anything else, to which nothing was answered. */
export async function imageRoute(node: ClusterNode, asked: string, answer: Answer): Promise<boolean> {
  const [, verb, name] = pathPattern.exec(asked) ?? [];
  if (verb === undefined || (verb === 'GET') !== (name === undefined)) return false;
  const images = (await node.options.images?.list()) ?? [];
  if (name === undefined) answerJson(answer.response, { images });
  else await choose(node, images.find((image) => image.name === name) ?? name, answer);
  return true;
}

/** Puts an image's files into the store, if they are not there, and tells what a description refers to them by. */
async function choose(node: ClusterNode, image: OfferedImage | string, answer: Answer): Promise<void> {
  requireRole(answer.caller, 'admin', 'to make a VM of an image');
  const name = typeof image === 'string' ? image : image.name;
  const files = await node.options.images?.read(name);
  if (typeof image === 'string' || files === undefined)
    throw new ClusterError('NOT_FOUND', `the host of ${node.options.name} has no image ${name}`, {
      hint: `fetch it there: revenant images fetch ${name}`,
    });
  const kernel = await put(node, files.kernel, answer);
  const initrd = await put(node, files.initrd, answer);
  tell(answer.response, { ...image, kernel, initrd });
}

const tell = (response: ServerResponse, chosen: ImageChosen): void => answerJson(response, chosen);

async function put({ store }: ClusterNode, bytes: Uint8Array, { limits }: Answer): Promise<string> {
  const hash = sha256(bytes);
  if (!(await hasBlob(store, hash)))
    await putBlob(store, hash, [bytes], limits.blobsMiB * 2 ** 20 - (await blobBytes(store)));
  return hash;
}
