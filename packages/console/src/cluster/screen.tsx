/** A VM's screen as its display shows it, text or graphics. While it has the focus the keyboard is the guest's, after a click the pointer too. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { drawPicture, ScreenCanvas } from '../shared/screen-canvas.tsx';
import { ScreenTools } from '../shared/screen-tools.tsx';
import type { Connection } from './connection.ts';
import type { PageDisplay } from './page-display.ts';

/** Follows what a screen says in text, for those who read it by ear. Empty: it shows none. */
function useScreenText(connection: Connection, vmId: string): string {
  const [text, setText] = useState('');
  useEffect(
    () => connection.watchScreen(vmId, (screen) => setText(screen === null ? '' : screen.lines.join('\n'))),
    [connection, vmId],
  );
  return text;
}

/** Whether a VM has a picture. */
function useHasPicture(display: PageDisplay): boolean {
  const [has, setHas] = useState(false);
  useEffect(() => display.watch((picture) => setHas(picture !== undefined)), [display]);
  return has;
}

export function ScreenView({
  connection,
  vmId,
  mayType,
}: {
  connection: Connection;
  vmId: string;
  mayType: boolean;
}) {
  const [said, setSaid] = useState('');
  const place = useRef<HTMLDivElement>(null);
  const { display, close } = useMemo(() => connection.display(vmId), [connection, vmId]);
  useEffect(() => close, [close]);
  const has = useHasPicture(display);
  const text = useScreenText(connection, vmId);
  useEffect(() => display.listen(setSaid), [display]);
  if (!has) return <p class="quiet">it has no screen, or does not run</p>;
  return (
    <div>
      <div ref={place}>
        <ScreenCanvas display={display} label={`screen of ${vmId}`} />
      </div>
      {text !== '' && (
        <pre class="by-ear" aria-label={`text on the screen of ${vmId}`} role="group">
          {text}
        </pre>
      )}
      <ScreenTools {...{ display, place, said }} label={`screen of ${vmId}`} disabled={!mayType} />
    </div>
  );
}

/** So often a picture in the list is drawn anew. */
const thumbnailMs = 2000;

/** A small live picture, while it is in sight. */
export function Thumbnail({ connection, vmId }: { connection: Connection; vmId: string }) {
  const place = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const canvas = place.current!;
    let end: (() => void) | undefined;
    const watch = (): void => {
      const { display, close } = connection.display(vmId);
      const unwatch = display.watch((picture, changed) => {
        if (picture !== undefined) drawPicture(canvas, picture, changed);
      }, thumbnailMs);
      end = () => {
        unwatch();
        close();
      };
    };
    const observer = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting === true && end === undefined) watch();
      else if (entry?.isIntersecting === false) {
        end?.();
        end = undefined;
      }
    });
    observer.observe(canvas);
    return () => {
      observer.disconnect();
      end?.();
    };
  }, [connection, vmId]);
  return (
    <canvas
      ref={place}
      class="thumbnail"
      width={720}
      height={400}
      role="img"
      aria-label={`what ${vmId} shows`}
    />
  );
}
