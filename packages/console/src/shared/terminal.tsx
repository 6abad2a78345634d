/** A serial console: xterm.js, with search and a size that follows the window. What the guest sends is text to it, never markup. */
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { useEffect, useRef } from 'preact/hooks';

/** What feeds a terminal and hears it; made once for each guest. */
export interface SerialLine {
  /** Calls `write` with all that the guest sends. Gives a function that ends it. */
  listen(write: (bytes: Uint8Array) => void): () => void;
  send(bytes: Uint8Array): void;
}

const scrollbackLines = 10_000;
const encoder = new TextEncoder();

export interface TerminalProps {
  line: SerialLine;
  /** For screen readers. */
  label: string;
}

export function TerminalView({ line, label }: TerminalProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const terminal = new Terminal({
      scrollback: scrollbackLines,
      fontSize: 14,
      screenReaderMode: true,
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.loadAddon(new SearchAddon());
    terminal.open(place.current!);
    fit.fit();
    terminal.textarea?.setAttribute('aria-label', label);
    const typed = terminal.onData((text) => {
      line.send(encoder.encode(text));
    });
    const binary = terminal.onBinary((text) => {
      line.send(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    });
    const unlisten = line.listen((bytes) => {
      terminal.write(bytes);
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
  return <div class="serial" ref={place} />;
}
