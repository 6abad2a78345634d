/**
 * Keys of a viewer as keys of a keyboard (DOM `code`). A viewer that knows QEMU's extended key event says which key it was; others say which character
 * it makes (X11's keysyms), for which a keyboard of the United States is assumed, as most guests have it.
 */

const letters = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZ', (letter) => [
  letter.toLowerCase(),
  letter,
  `Key${letter}`,
]);
/** Characters of a key: alone, and with Shift. */
// prettier-ignore
const characters: readonly (readonly string[])[] = [
  ...letters,
  ['1', '!', 'Digit1'], ['2', '@', 'Digit2'], ['3', '#', 'Digit3'], ['4', '$', 'Digit4'], ['5', '%', 'Digit5'], ['6', '^', 'Digit6'],
  ['7', '&', 'Digit7'], ['8', '*', 'Digit8'], ['9', '(', 'Digit9'], ['0', ')', 'Digit0'], ['-', '_', 'Minus'], ['=', '+', 'Equal'],
  ['[', '{', 'BracketLeft'], [']', '}', 'BracketRight'], ['\\', '|', 'Backslash'], [';', ':', 'Semicolon'], ["'", '"', 'Quote'],
  ['`', '~', 'Backquote'], [',', '<', 'Comma'], ['.', '>', 'Period'], ['/', '?', 'Slash'], [' ', ' ', 'Space'],
];

/** X11's keysymdef.h: keys without a character. */
// prettier-ignore
const named: Readonly<Record<number, string>> = {
  0xff08: 'Backspace', 0xff09: 'Tab', 0xfe20: 'Tab', 0xff0d: 'Enter', 0xff14: 'ScrollLock', 0xff1b: 'Escape', 0xff50: 'Home', 0xff51: 'ArrowLeft',
  0xff52: 'ArrowUp', 0xff53: 'ArrowRight', 0xff54: 'ArrowDown', 0xff55: 'PageUp', 0xff56: 'PageDown', 0xff57: 'End', 0xff63: 'Insert',
  0xff67: 'ContextMenu', 0xff7f: 'NumLock', 0xff8d: 'NumpadEnter', 0xff95: 'Numpad7', 0xff96: 'Numpad4', 0xff97: 'Numpad8', 0xff98: 'Numpad6',
  0xff99: 'Numpad2', 0xff9a: 'Numpad9', 0xff9b: 'Numpad3', 0xff9c: 'Numpad1', 0xff9d: 'Numpad5', 0xff9e: 'Numpad0', 0xff9f: 'NumpadDecimal',
  0xffaa: 'NumpadMultiply', 0xffab: 'NumpadAdd', 0xffad: 'NumpadSubtract', 0xffae: 'NumpadDecimal', 0xffaf: 'NumpadDivide', 0xffe1: 'ShiftLeft',
  0xffe2: 'ShiftRight', 0xffe3: 'ControlLeft', 0xffe4: 'ControlRight', 0xffe5: 'CapsLock', 0xffe7: 'MetaLeft', 0xffe8: 'MetaRight',
  0xffe9: 'AltLeft', 0xffea: 'AltRight', 0xfe03: 'AltRight', 0xffeb: 'MetaLeft', 0xffec: 'MetaRight', 0xffff: 'Delete',
  ...Object.fromEntries(Array.from({ length: 12 }, (_, n) => [0xffbe + n, `F${String(n + 1)}`])),
  ...Object.fromEntries(Array.from({ length: 10 }, (_, n) => [0xffb0 + n, `Numpad${String(n)}`])),
};

export interface Key {
  code: string;
  /** The character is the key's second one; undefined where the key has none. */
  shifted?: boolean;
}

const byKeysym = new Map<number, Key>();
for (const [plain = '', shifted = '', code = ''] of characters) {
  byKeysym.set(shifted.charCodeAt(0), { code, shifted: true });
  byKeysym.set(plain.charCodeAt(0), { code, shifted: false });
}
byKeysym.set(0x20, { code: 'Space' });
for (const [keysym, code] of Object.entries(named)) byKeysym.set(Number(keysym), { code });

/** The key that makes a character. */
export function keyOfKeysym(keysym: number): Key | undefined {
  return byKeysym.get(keysym);
}

/** Keys by their XT (set 1) scan codes, from 01h on. */
// prettier-ignore
const plainScanCodes = [
  'Escape', 'Digit1', 'Digit2', 'Digit3', 'Digit4', 'Digit5', 'Digit6', 'Digit7', 'Digit8', 'Digit9', 'Digit0', 'Minus', 'Equal', 'Backspace', 'Tab',
  'KeyQ', 'KeyW', 'KeyE', 'KeyR', 'KeyT', 'KeyY', 'KeyU', 'KeyI', 'KeyO', 'KeyP', 'BracketLeft', 'BracketRight', 'Enter', 'ControlLeft',
  'KeyA', 'KeyS', 'KeyD', 'KeyF', 'KeyG', 'KeyH', 'KeyJ', 'KeyK', 'KeyL', 'Semicolon', 'Quote', 'Backquote', 'ShiftLeft', 'Backslash',
  'KeyZ', 'KeyX', 'KeyC', 'KeyV', 'KeyB', 'KeyN', 'KeyM', 'Comma', 'Period', 'Slash', 'ShiftRight', 'NumpadMultiply', 'AltLeft', 'Space', 'CapsLock',
  'F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9', 'F10', 'NumLock', 'ScrollLock', 'Numpad7', 'Numpad8', 'Numpad9', 'NumpadSubtract',
  'Numpad4', 'Numpad5', 'Numpad6', 'NumpadAdd', 'Numpad1', 'Numpad2', 'Numpad3', 'Numpad0', 'NumpadDecimal', '', '', 'IntlBackslash', 'F11', 'F12',
] as const;
/** Those behind E0h. */
// prettier-ignore
const extendedScanCodes: Readonly<Record<number, string>> = {
  0x1c: 'NumpadEnter', 0x1d: 'ControlRight', 0x35: 'NumpadDivide', 0x38: 'AltRight', 0x47: 'Home', 0x48: 'ArrowUp', 0x49: 'PageUp', 0x4b: 'ArrowLeft',
  0x4d: 'ArrowRight', 0x4f: 'End', 0x50: 'ArrowDown', 0x51: 'PageDown', 0x52: 'Insert', 0x53: 'Delete', 0x5b: 'MetaLeft', 0x5c: 'MetaRight',
  0x5d: 'ContextMenu',
};

/** The key of an XT scan code as QEMU's message has it: bit 7 stands for E0h. */
export function keyOfScanCode(scanCode: number): string | undefined {
  const code = scanCode & 0x80 ? extendedScanCodes[scanCode & 0x7f] : plainScanCodes[scanCode - 1];
  return scanCode > 0xff || code === '' ? undefined : code;
}
