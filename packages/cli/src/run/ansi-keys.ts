/** What is typed at a terminal as keys of a keyboard of the United States: characters, control characters, and the sequences of other keys. */
import { keyOfKeysym } from '../vnc/keys.ts';

/** Together, in this order: `ControlLeft`, `KeyC`. */
export type Chord = string[];

/** Control characters that have a key of their own. */
const single: Readonly<Record<number, string>> = {
  0x08: 'Backspace',
  0x09: 'Tab',
  0x0a: 'Enter',
  0x0d: 'Enter',
  0x1b: 'Escape',
  0x7f: 'Backspace',
};

/** Behind `ESC [` or `ESC O` (xterm's ctlseqs). */
// prettier-ignore
const sequences: Readonly<Record<string, string>> = {
  A: 'ArrowUp', B: 'ArrowDown', C: 'ArrowRight', D: 'ArrowLeft', H: 'Home', F: 'End', P: 'F1', Q: 'F2', R: 'F3', S: 'F4',
  '1~': 'Home', '2~': 'Insert', '3~': 'Delete', '4~': 'End', '5~': 'PageUp', '6~': 'PageDown', '7~': 'Home', '8~': 'End', '11~': 'F1', '12~': 'F2',
  '13~': 'F3', '14~': 'F4', '15~': 'F5', '17~': 'F6', '18~': 'F7', '19~': 'F8', '20~': 'F9', '21~': 'F10', '23~': 'F11', '24~': 'F12',
};
const sequence = /^\x1b[[O](\d{1,2}~|[A-DFHP-S])/; // eslint-disable-line no-control-regex

function chordOf(character: number): Chord | undefined {
  const key = single[character];
  if (key !== undefined) return [key];
  if (character < 0x20) {
    const letter = keyOfKeysym(character + 0x60);
    return letter && ['ControlLeft', letter.code];
  }
  const known = keyOfKeysym(character);
  if (known === undefined) return undefined;
  return known.shifted === true ? ['ShiftLeft', known.code] : [known.code];
}

/** Keys of one piece of input; what no key makes is left out. */
export function keysTyped(bytes: Uint8Array): Chord[] {
  const typed = Buffer.from(bytes).toString('latin1');
  const chords: Chord[] = [];
  for (let at = 0; at < typed.length;) {
    const [whole = '', name = ''] = sequence.exec(typed.slice(at, at + 8)) ?? [];
    const isMeta = whole === '' && typed[at] === '\x1b' && at + 1 < typed.length;
    const chord = whole === '' ? chordOf(typed.charCodeAt(isMeta ? at + 1 : at)) : [sequences[name] ?? ''];
    if (chord !== undefined && !chord.includes('')) chords.push(isMeta ? ['AltLeft', ...chord] : chord);
    at += whole === '' ? (isMeta ? 2 : 1) : whole.length;
  }
  return chords;
}
