/** Guest images that the host of the node has which serves the page. */
import type { Connection } from './connection.ts';
import {
  checkTold,
  errorAnswerSchema,
  firmwareChosenSchema,
  imageChosenSchema,
  imagesAnswerSchema,
  type FirmwareChosen,
  type ImageChosen,
  type OfferedImage,
} from '@revenant/cluster/protocol';

/** None where the node offers none, or does not answer. */
export async function offeredImages(connection: Connection): Promise<readonly OfferedImage[]> {
  try {
    const response = await connection.fetch('/v1/images');
    return response.ok ? checkTold(imagesAnswerSchema, await response.json(), 'the images').images : [];
  } catch {
    return [];
  }
}

/** Has an image put into the cluster's store. Throws Error in words for people. */
export async function chooseImage(connection: Connection, name: string): Promise<ImageChosen> {
  const response = await connection.fetch(`/v1/images/${encodeURIComponent(name)}`, { method: 'POST' });
  const answer: unknown = await response.json();
  if (response.ok) return checkTold(imageChosenSchema, answer, 'the image');
  throw new Error(checkTold(errorAnswerSchema, answer, 'the answer').error.message);
}

/** Has firmware put into the store: a BIOS that is a blob there, or (null) the host's. Throws Error in words for people. */
export async function chooseFirmware(connection: Connection, bios: string | null): Promise<FirmwareChosen> {
  const response = await connection.fetch('/v1/firmware', { method: 'POST', body: JSON.stringify({ bios }) });
  const answer: unknown = await response.json();
  if (response.ok) return checkTold(firmwareChosenSchema, answer, 'the firmware');
  throw new Error(checkTold(errorAnswerSchema, answer, 'the answer').error.message);
}
