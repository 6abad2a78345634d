/** Places on a screen as a tablet tells them, whatever the size of its picture. */

/** The largest number of each axis; the smallest is 0. */
export const tabletRange = 0x7fff;

/** A pixel of a picture so wide, or so high. */
export function tabletPlace(pixel: number, size: number): number {
  const last = Math.max(1, size - 1);
  return Math.round((Math.max(0, Math.min(last, pixel)) * tabletRange) / last);
}
