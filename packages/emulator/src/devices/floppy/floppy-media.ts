/** Formats of floppy disks, by the size of the image, and the drives that a PC/AT knows for them. */

export interface FloppyFormat {
  bytes: number;
  cylinders: number;
  heads: number;
  sectors: number;
  /** Data rates at which it can be read, as the CCR selects them: 0 500, 1 300, 2 250, 3 1000 kbit/s. */
  rates: readonly number[];
  /** CMOS drive type: 1 360K, 2 1.2M, 3 720K, 4 1.44M, 5 2.88M. */
  driveType: number;
}

const format = (
  kib: number,
  cylinders: number,
  heads: number,
  sectors: number,
  rates: readonly number[],
  driveType: number,
): FloppyFormat => ({
  bytes: kib * 1024,
  cylinders,
  heads,
  sectors,
  rates,
  driveType,
});

export const floppyFormats: readonly FloppyFormat[] = [
  format(160, 40, 1, 8, [1, 2], 1),
  format(180, 40, 1, 9, [1, 2], 1),
  format(320, 40, 2, 8, [1, 2], 1),
  format(360, 40, 2, 9, [1, 2], 1),
  format(720, 80, 2, 9, [2], 3),
  format(1200, 80, 2, 15, [0], 2),
  format(1440, 80, 2, 18, [0], 4),
  format(1680, 80, 2, 21, [0], 4),
  format(1722, 82, 2, 21, [0], 4),
  format(2880, 80, 2, 36, [3], 5),
];

/** The format of an image of exactly this size. */
export function floppyFormat(bytes: number): FloppyFormat | undefined {
  return floppyFormats.find((one) => one.bytes === bytes);
}

/** Size of the smallest floppy disk that holds an image, for images that were cut behind their last used sector. */
export function floppyBytesFor(imageBytes: number): number | undefined {
  return floppyFormats.find((one) => one.bytes >= imageBytes)?.bytes;
}
