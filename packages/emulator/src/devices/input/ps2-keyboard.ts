/**
 * PS/2 keyboard (IBM enhanced keyboard, "Keyboard" section of the PS/2 Hardware Interface Technical Reference), as a part of the
 * i8042 device: commands in, bytes out. It sends scan code set 2 (or 1, 3 as told); the controller translates.
 */
import { bool, integer, list, nullable, record, u8, type Infer } from '../schema.ts';

export const keyboardQueueBytes = 16;
// prettier-ignore
const Command = {
  setLeds: 0xed, echo: 0xee, scanSet: 0xf0, identify: 0xf2, setRate: 0xf3, enable: 0xf4, disable: 0xf5, defaults: 0xf6,
  resend: 0xfe, reset: 0xff,
} as const;
const acknowledge = 0xfa;
const resendRequest = 0xfe;
const selfTestPassed = 0xaa;
const overrun = 0x00;

export const keyboardSchema = record({
  queue: list(u8, keyboardQueueBytes + 8),
  leds: u8,
  scanSet: integer(1, 3),
  rate: u8,
  scanning: bool,
  /** Command whose parameter comes next. */
  parameterOf: nullable(u8),
  lastByte: u8,
});
export type KeyboardState = Infer<typeof keyboardSchema>;

export function keyboardPowerOn(): KeyboardState {
  return { queue: [], leds: 0, scanSet: 2, rate: 0x2b, scanning: true, parameterOf: null, lastByte: 0 };
}

function reply(k: KeyboardState, ...bytes: number[]): void {
  for (const byte of bytes) if (k.queue.length < keyboardQueueBytes + 8) k.queue.push(byte);
}

/** A byte from the system to the keyboard. */
export function keyboardCommand(k: KeyboardState, value: number): void {
  const command = k.parameterOf;
  if (command !== null && value < 0xed) {
    k.parameterOf = null;
    keyboardParameter(k, command, value);
    return;
  }
  k.parameterOf = null;
  switch (value) {
    case Command.setLeds:
    case Command.scanSet:
    case Command.setRate:
      k.parameterOf = value;
      reply(k, acknowledge);
      return;
    case Command.echo:
      reply(k, Command.echo);
      return;
    case Command.identify:
      reply(k, acknowledge, 0xab, 0x83);
      return;
    case Command.enable:
      k.queue.length = 0;
      k.scanning = true;
      reply(k, acknowledge);
      return;
    case Command.disable:
    case Command.defaults:
      Object.assign(k, { ...keyboardPowerOn(), leds: k.leds, scanning: value === Command.defaults });
      reply(k, acknowledge);
      return;
    case Command.resend:
      reply(k, k.lastByte);
      return;
    case Command.reset:
      Object.assign(k, keyboardPowerOn());
      reply(k, acknowledge, selfTestPassed);
      return;
    default:
      reply(k, value > 0xf6 && value < 0xfe ? acknowledge : resendRequest);
  }
}

function keyboardParameter(k: KeyboardState, command: number, value: number): void {
  reply(k, acknowledge);
  if (command === Command.setLeds) k.leds = value & 7;
  else if (command === Command.setRate) k.rate = value & 0x7f;
  else if (value === 0) reply(k, k.scanSet);
  else if (value <= 3) k.scanSet = value;
}

/** Key on the keyboard by its DOM `code`: set 2 scan code, with 0xe0 in the high byte for extended keys. */
// prettier-ignore
const set2Codes: Readonly<Record<string, number>> = {
  Escape: 0x76, F1: 0x05, F2: 0x06, F3: 0x04, F4: 0x0c, F5: 0x03, F6: 0x0b, F7: 0x83, F8: 0x0a, F9: 0x01, F10: 0x09,
  F11: 0x78, F12: 0x07, ScrollLock: 0x7e, Backquote: 0x0e, Digit1: 0x16, Digit2: 0x1e, Digit3: 0x26, Digit4: 0x25,
  Digit5: 0x2e, Digit6: 0x36, Digit7: 0x3d, Digit8: 0x3e, Digit9: 0x46, Digit0: 0x45, Minus: 0x4e, Equal: 0x55,
  Backspace: 0x66, Tab: 0x0d, KeyQ: 0x15, KeyW: 0x1d, KeyE: 0x24, KeyR: 0x2d, KeyT: 0x2c, KeyY: 0x35, KeyU: 0x3c,
  KeyI: 0x43, KeyO: 0x44, KeyP: 0x4d, BracketLeft: 0x54, BracketRight: 0x5b, Backslash: 0x5d, CapsLock: 0x58,
  KeyA: 0x1c, KeyS: 0x1b, KeyD: 0x23, KeyF: 0x2b, KeyG: 0x34, KeyH: 0x33, KeyJ: 0x3b, KeyK: 0x42, KeyL: 0x4b,
  Semicolon: 0x4c, Quote: 0x52, Enter: 0x5a, ShiftLeft: 0x12, IntlBackslash: 0x61, KeyZ: 0x1a, KeyX: 0x22, KeyC: 0x21,
  KeyV: 0x2a, KeyB: 0x32, KeyN: 0x31, KeyM: 0x3a, Comma: 0x41, Period: 0x49, Slash: 0x4a, ShiftRight: 0x59,
  ControlLeft: 0x14, AltLeft: 0x11, Space: 0x29, NumLock: 0x77, NumpadMultiply: 0x7c, NumpadSubtract: 0x7b,
  NumpadAdd: 0x79, NumpadDecimal: 0x71, Numpad0: 0x70, Numpad1: 0x69, Numpad2: 0x72, Numpad3: 0x7a, Numpad4: 0x6b,
  Numpad5: 0x73, Numpad6: 0x74, Numpad7: 0x6c, Numpad8: 0x75, Numpad9: 0x7d,
  ControlRight: 0xe014, AltRight: 0xe011, MetaLeft: 0xe01f, MetaRight: 0xe027, ContextMenu: 0xe02f, Insert: 0xe070,
  Delete: 0xe071, Home: 0xe06c, End: 0xe069, PageUp: 0xe07d, PageDown: 0xe07a, ArrowUp: 0xe075, ArrowDown: 0xe072,
  ArrowLeft: 0xe06b, ArrowRight: 0xe074, NumpadDivide: 0xe04a, NumpadEnter: 0xe05a,
};

/** Names that `keyboardKey` knows (DOM KeyboardEvent.code). */
export const keyCodes: readonly string[] = Object.keys(set2Codes);

/** What the longest of its codes takes: E0h, F0h, and the key. */
const longestCode = 3;

/** Whether the next key will find room, whichever it is: who types faster than a guest reads can wait. */
export function keyboardHasRoom({ queue }: KeyboardState): boolean {
  return queue.length + longestCode <= keyboardQueueBytes;
}

/** A key goes down or up. Returns false for an unknown key. When the buffer is full the keyboard marks an overrun, as the chip does. */
export function keyboardKey(k: KeyboardState, code: string, pressed: boolean): boolean {
  const scanCode = set2Codes[code];
  if (scanCode === undefined) return false;
  if (!k.scanning) return true;
  const sequence: number[] = scanCode > 0xff ? [0xe0] : [];
  if (k.scanSet === 1) sequence.push((translateSet2[scanCode & 0xff] ?? 0) | (pressed ? 0 : 0x80));
  else {
    if (!pressed) sequence.push(0xf0);
    sequence.push(scanCode & 0xff);
  }
  if (k.queue.length + sequence.length <= keyboardQueueBytes) k.queue.push(...sequence);
  else if (k.queue.length < keyboardQueueBytes) k.queue.push(overrun);
  return true;
}

/** The 8042's translation table from scan code set 2 to set 1, index = set 2 code. */
// prettier-ignore
export const translateSet2: readonly number[] = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
  0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
  0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
  0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
  0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
  0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
  0x80, 0x81, 0x82, 0x41, 0x54,
];
