/** A screen that shows nothing looks like a fault of ours: it is said whose it is. */

/** What to say of a picture in one colour, or of a text screen without a character; undefined for any other. */
export function whyBlank(screen: { rgba: Uint8Array } | { lines: readonly string[] }): string | undefined {
  if ('lines' in screen)
    return screen.lines.every((line) => line.trim() === '')
      ? 'the guest has written nothing on its screen; its serial console may have more'
      : undefined;
  const { rgba } = screen;
  return rgba.every((byte, at) => byte === rgba[at & 3])
    ? 'the guest draws nothing: the picture is of one colour; its serial console may have more'
    : undefined;
}
