/** What can be done with a guest's screen: chords that a browser keeps for itself, pasting by keys, full screen with the whole keyboard. */
import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { TakesKeys } from './screen-canvas.tsx';
import { strokesOf } from './text-keys.ts';

const chords: readonly (readonly [label: string, codes: readonly string[]])[] = [
  ['Ctrl-Alt-Del', ['ControlLeft', 'AltLeft', 'Delete']],
  ['Ctrl-Alt-Backspace', ['ControlLeft', 'AltLeft', 'Backspace']],
  ['Alt-Tab', ['AltLeft', 'Tab']],
  ['Alt-F4', ['AltLeft', 'F4']],
  ['Ctrl-Esc', ['ControlLeft', 'Escape']],
  ['Windows key', ['MetaLeft']],
  ['Print screen', ['PrintScreen']],
  ...Array.from({ length: 6 }, (_, n): [string, string[]] => [
    `Ctrl-Alt-F${String(n + 1)}`,
    ['ControlLeft', 'AltLeft', `F${String(n + 1)}`],
  ]),
];
const maxPasted = 10_000;

export function pressTogether(display: TakesKeys, codes: readonly string[]): void {
  for (const code of codes) display.key(code, true);
  for (const code of [...codes].reverse()) display.key(code, false);
}

/** Types a text; what is to be said of it. */
function typeText(display: TakesKeys, text: string): string {
  const { strokes, missing } = strokesOf(text);
  if (strokes.length > maxPasted) return `That is more than ${String(maxPasted)} keys: use the console.`;
  for (const { code, shift } of strokes) pressTogether(display, shift ? ['ShiftLeft', code] : [code]);
  const typed = `${String(strokes.length)} keys typed`;
  return missing.length === 0
    ? typed
    : `${typed}; no key of a US keyboard writes ${missing.slice(0, 10).join(' ')}`;
}

/** With the keyboard's own chords, where the browser gives them (Chromium does). */
async function fullScreen(element: HTMLElement): Promise<void> {
  await element.requestFullscreen();
  const { keyboard } = navigator as { keyboard?: { lock?: () => Promise<void> } };
  await keyboard?.lock?.().catch(() => undefined);
  element.querySelector('canvas')?.focus();
}

/** Types a line, which is sent with Enter: where the canvas gets no keys, as on a phone, and where the clipboard can't be read. */
function TypeText({
  label,
  disabled,
  type,
}: {
  label: string;
  disabled: boolean;
  type: (text: string) => void;
}) {
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault();
        const field = event.currentTarget.querySelector('input')!;
        type(`${field.value}\n`);
        field.value = '';
      }}
    >
      <input
        type="text"
        aria-label={`type a line to the ${label}`}
        placeholder="Type a line, Enter"
        size={18}
        autocomplete="off"
        autocapitalize="none"
        {...{ disabled }}
      />
    </form>
  );
}

/** What is to be said while the pointer is the guest's; empty: it is not. */
function useHint(place: RefObject<HTMLElement | null>): string {
  const [hint, setHint] = useState('');
  useEffect(() => {
    const over = new AbortController();
    const look = (): void => {
      const { pointerLockElement: holder, fullscreenElement } = document;
      const isOurs = holder !== null && place.current?.contains(holder) === true;
      if (!isOurs) setHint('');
      else if (fullscreenElement === null) setHint("The pointer is the guest's: Esc gives it back.");
      else setHint('Hold Esc to leave.');
    };
    document.addEventListener('pointerlockchange', look, { signal: over.signal });
    document.addEventListener('fullscreenchange', look, { signal: over.signal });
    return () => over.abort();
  }, [place]);
  return hint;
}

export function ScreenTools({
  display,
  place,
  label,
  disabled,
  said,
}: {
  display: TakesKeys;
  /** Holds the canvas. */
  place: RefObject<HTMLElement | null>;
  label: string;
  disabled: boolean;
  /** For the person, from elsewhere. */
  said: string;
}) {
  const [own, setOwn] = useState('');
  const hint = useHint(place);
  const paste = (): void => {
    navigator.clipboard.readText().then(
      (text) => {
        setOwn(typeText(display, text));
        place.current?.querySelector('canvas')?.focus();
      },
      () => setOwn('The browser does not let this page read the clipboard.'),
    );
  };
  return (
    <div class="tools" role="group" aria-label={`tools of the ${label}`}>
      <select
        aria-label={`send keys to the ${label}`}
        disabled={disabled}
        value=""
        onChange={(event) => {
          const codes = chords.find(([name]) => name === event.currentTarget.value)?.[1];
          event.currentTarget.value = '';
          if (codes !== undefined) pressTogether(display, codes);
        }}
      >
        <option value="">Send keys…</option>
        {chords.map(([name]) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
      <TypeText {...{ label, disabled }} type={(text) => setOwn(typeText(display, text))} />
      <button type="button" disabled={disabled} onClick={paste}>
        Paste as keys
      </button>
      <button type="button" onClick={() => place.current !== null && void fullScreen(place.current)}>
        Full screen
      </button>
      <span class="quiet" aria-live="polite">
        {[hint, said, own].find((text) => text !== '')}
      </span>
    </div>
  );
}
