/** Screens as nodes answer them, as pictures. */
import { checkTold, screenAnswerSchema } from '@revenant/cluster/protocol';
import type { Picture } from '../shared/screen-canvas.tsx';
import { textPicture } from '../shared/text-picture.ts';

/** Throws ClusterError for what is no screen. */
export function pictureOfAnswer(answer: unknown): Picture {
  return textPicture({ cursor: undefined, ...checkTold(screenAnswerSchema, answer, 'the screen') });
}
