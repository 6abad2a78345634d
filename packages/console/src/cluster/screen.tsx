/** A VM's text screen as its display shows it. While it has the focus the keyboard is the guest's; keys go chord by chord. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ScreenCanvas, type Display } from '../shared/screen-canvas.tsx';
import { textPicture } from '../shared/text-picture.ts';
import type { Connection, Screen } from './connection.ts';

const modifiers = new Set(
  ['Control', 'Shift', 'Alt', 'Meta'].flatMap((name) => [`${name}Left`, `${name}Right`]),
);

function displayOf(connection: Connection, vmId: string, refused: (why: string) => void): Display {
  const held = new Set<string>();
  return {
    watch: (draw) =>
      connection.watchScreen(vmId, (screen) => {
        if (screen !== null) draw(textPicture({ cursor: undefined, ...screen }));
      }),
    key: (code, pressed) => {
      if (modifiers.has(code)) {
        if (pressed) held.add(code);
        else held.delete(code);
      } else if (pressed)
        connection.press(vmId, [...held, code]).then(
          () => refused(''),
          (problem: unknown) => refused(problem instanceof Error ? problem.message : String(problem)),
        );
    },
  };
}

export function ScreenView({ connection, vmId }: { connection: Connection; vmId: string }) {
  const [screen, setScreen] = useState<Screen>(null);
  const [error, setError] = useState('');
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => connection.watchScreen(vmId, setScreen), [connection, vmId]);
  const display = useMemo(() => displayOf(connection, vmId, setError), [connection, vmId]);
  if (screen === null) return <p class="quiet">it has no text screen, or does not run</p>;
  return (
    <div>
      <div ref={place}>
        <ScreenCanvas display={display} label={`screen of ${vmId}`} />
      </div>
      {/* What the picture says, for those who read it by ear. */}
      <pre class="by-ear" aria-label={`text on the screen of ${vmId}`} role="group">
        {screen.lines.join('\n')}
      </pre>
      <div class="tools">
        <button
          type="button"
          onClick={() => {
            void place.current
              ?.requestFullscreen()
              .then(() => place.current?.querySelector('canvas')?.focus());
          }}
        >
          Full screen
        </button>
        <span class="error" role="alert">
          {error}
        </span>
      </div>
    </div>
  );
}
