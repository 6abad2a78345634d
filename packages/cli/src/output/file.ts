/** Files that a command writes because a person named them. */
import { writeFileSync } from 'node:fs';
import { cannotWrite } from '../errors.ts';

export function writeOutput(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}
