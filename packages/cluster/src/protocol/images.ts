/** Guest images that a node's host has: `GET /v1/images`, and `POST /v1/images/NAME`, which puts one into the store. */
import * as v from 'valibot';
import { maxImages, maxName } from './limits.ts';
import { count, list, text } from './schema.ts';

const offered = {
  name: text(maxName),
  title: text(),
  commandLine: text(4096),
  memoryMiB: count,
};
export const offeredImageSchema = v.strictObject(offered);
export type OfferedImage = v.InferOutput<typeof offeredImageSchema>;
export const imagesAnswerSchema = v.strictObject({ images: list(offeredImageSchema, maxImages) });

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
/** With the names of its blobs. */
export const imageChosenSchema = v.strictObject({ ...offered, kernel: hash, initrd: hash });
export type ImageChosen = v.InferOutput<typeof imageChosenSchema>;

/** `POST /v1/firmware`: puts firmware into the store; `bios` is a blob, null the BIOS that the node's host has. */
export const firmwareRequestSchema = v.strictObject({ bios: v.nullable(hash) });
export const firmwareChosenSchema = v.strictObject({ rom: hash, optionRomBytes: count });
export type FirmwareChosen = v.InferOutput<typeof firmwareChosenSchema>;
