/** A serial console: xterm.js, with search and a size that follows the window. What the guest sends is text to it, never markup. */
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { TerminalFeed } from './terminal-feed.ts';

/** What feeds a terminal and hears it; made once for each guest. */
export interface SerialLine {
  /** Calls `write` with all that the guest sends. Gives a function that ends it. */
  listen(write: (bytes: Uint8Array) => void): () => void;
  send(bytes: Uint8Array): void;
}

const scrollbackLines = 10_000;
const encoder = new TextEncoder();
const xoff = '\x13';
const xon = '\x11';

export interface TerminalProps {
  line: SerialLine;
  /** For screen readers. */
  label: string;
}

interface Live {
  terminal: Terminal;
  search: SearchAddon;
}

function makeTerminal(place: HTMLElement, label: string): Live & { fit: FitAddon } {
  const terminal = new Terminal({
    scrollback: scrollbackLines,
    fontSize: 14,
    screenReaderMode: true,
    // A link that a guest printed leads nowhere: its address would be the guest's word.
    linkHandler: { activate: () => undefined },
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.open(place);
  fit.fit();
  terminal.textarea?.setAttribute('aria-label', label);
  return { terminal, fit, search };
}

/** Ctrl-Shift-C, -V and -F as in other terminals; without Shift these are the guest's. Gives whether the guest gets the key. */
function ownKey(event: KeyboardEvent, acts: { copy(): void; paste(): void; find(): void }): boolean {
  if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true;
  const act = { KeyC: acts.copy, KeyV: acts.paste, KeyF: acts.find }[event.code];
  if (act === undefined) return true;
  event.preventDefault();
  act();
  return false;
}

export function TerminalView({ line, label }: TerminalProps) {
  const place = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const live = useRef<Live>(undefined);
  const [said, setSaid] = useState('');
  const copy = (): void => {
    const text = live.current?.terminal.getSelection() ?? '';
    if (text === '') return setSaid('Select text with the mouse first.');
    navigator.clipboard.writeText(text).then(
      () => setSaid(`${String(text.length)} characters copied`),
      () => setSaid('The browser does not let this page copy.'),
    );
  };
  const paste = (): void => {
    // Firefox asks the person; a page without permission is told so.
    navigator.clipboard.readText().then(
      (text) => {
        live.current?.terminal.paste(text);
        live.current?.terminal.focus();
        setSaid(`${String(text.length)} characters pasted`);
      },
      () => setSaid("The browser does not let this page read the clipboard: use the browser's own paste."),
    );
  };
  useEffect(() => {
    const { terminal, fit, search } = makeTerminal(place.current!, label);
    live.current = { terminal, search };
    terminal.attachCustomKeyEventHandler((event) =>
      ownKey(event, { copy, paste, find: () => field.current?.focus() }),
    );
    const typed = terminal.onData((text) => {
      if (text === xoff) setSaid('Ctrl-S: most guests stop their console now, until Ctrl-Q.');
      else if (text === xon) setSaid('');
      line.send(encoder.encode(text));
    });
    const binary = terminal.onBinary((text) => {
      line.send(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    });
    const feed = new TerminalFeed(terminal);
    const unlisten = line.listen((bytes) => {
      feed.write(bytes);
    });
    const observer = new ResizeObserver(() => {
      fit.fit();
    });
    observer.observe(place.current!);
    terminal.focus();
    return () => {
      observer.disconnect();
      unlisten();
      typed.dispose();
      binary.dispose();
      terminal.dispose();
    };
  }, [line, label]);
  return (
    <div class="terminal">
      <div class="serial" ref={place} />
      <Tools
        {...{ field, label, said, copy, paste }}
        find={(text) => {
          const found = live.current?.search.findPrevious(text);
          setSaid(found === true ? '' : 'Not found.');
        }}
      />
    </div>
  );
}

interface ToolsProps {
  field: RefObject<HTMLInputElement | null>;
  label: string;
  /** For the person. */
  said: string;
  copy: () => void;
  paste: () => void;
  find: (text: string) => void;
}

function Tools({ field, label, said, copy, paste, find }: ToolsProps) {
  return (
    <form
      class="tools"
      aria-label={`tools of the ${label}`}
      onSubmit={(event) => {
        event.preventDefault();
        find(field.current?.value ?? '');
      }}
    >
      <input type="search" ref={field} placeholder="Find" aria-label={`find in the ${label}`} />
      <button type="submit">Find</button>
      <button type="button" onClick={copy}>
        Copy
      </button>
      <button type="button" onClick={paste}>
        Paste
      </button>
      <span class="quiet" aria-live="polite">
        {said}
      </span>
    </form>
  );
}
