/** A guest's text on a person's terminal: control characters, which could command the terminal, become visible. Newline and tab stay. */
export function printable(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
