/** A disk image that can't be used: damaged, of a kind that is not read here, or not writable as asked. */
export class DiskFormatError extends Error {
  readonly code: 'DISK_IMAGE_DAMAGED' | 'DISK_IMAGE_UNSUPPORTED';
  readonly hint: string;
  constructor(code: DiskFormatError['code'], message: string, hint: string) {
    super(message);
    this.name = 'DiskFormatError';
    this.code = code;
    this.hint = hint;
  }
}

export function damaged(what: string): DiskFormatError {
  return new DiskFormatError(
    'DISK_IMAGE_DAMAGED',
    `the image is damaged: ${what}`,
    'qemu-img check IMAGE says more',
  );
}

export function unsupported(what: string, hint: string): DiskFormatError {
  return new DiskFormatError('DISK_IMAGE_UNSUPPORTED', what, hint);
}
