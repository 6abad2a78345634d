/** Text as keys of a US keyboard, for guests that hear nothing but a keyboard. */

/** What each key writes, without and with Shift, by DOM `code`. */
// prettier-ignore
const keys: Readonly<Record<string, string>> = {
  Backquote: '`~', Minus: '-_', Equal: '=+', BracketLeft: '[{', BracketRight: ']}', Backslash: '\\|', Semicolon: ';:', Quote: '\'"', Comma: ',<',
  Period: '.>', Slash: '/?', Space: ' ', Enter: '\n', Tab: '\t', Digit1: '1!', Digit2: '2@', Digit3: '3#', Digit4: '4$', Digit5: '5%', Digit6: '6^',
  Digit7: '7&', Digit8: '8*', Digit9: '9(', Digit0: '0)',
};

export interface Stroke {
  code: string;
  shift: boolean;
}

const strokes = new Map<string, Stroke>(
  Object.entries(keys).flatMap(([code, characters]) =>
    [...characters].map((character, n): [string, Stroke] => [character, { code, shift: n === 1 }]),
  ),
);
for (let n = 0; n < 26; n++) {
  const letter = String.fromCharCode(0x61 + n);
  const code = `Key${letter.toUpperCase()}`;
  strokes.set(letter, { code, shift: false });
  strokes.set(letter.toUpperCase(), { code, shift: true });
}

/** The keys that write a text, and the characters in it that no key writes. */
export function strokesOf(text: string): { strokes: Stroke[]; missing: string[] } {
  const found: Stroke[] = [];
  const missing = new Set<string>();
  for (const character of text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')) {
    const stroke = strokes.get(character);
    if (stroke === undefined) missing.add(character);
    else found.push(stroke);
  }
  return { strokes: found, missing: [...missing] };
}
