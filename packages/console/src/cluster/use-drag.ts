/** A pointer on a strip: where it points, a click, or a drag from one place to another, in pixels from the strip's left edge. */
import { useRef, useState } from 'preact/hooks';

/** A hand is not steady: nearer than this it is a click. */
const leastPixels = 6;

export interface Drag {
  /** Where the pointer is; undefined: elsewhere. */
  at: number | undefined;
  /** Where the drag that goes on began; undefined: there is none. */
  from: number | undefined;
  handlers: Record<
    'onPointerDown' | 'onPointerMove' | 'onPointerUp' | 'onPointerCancel' | 'onPointerLeave',
    (event: PointerEvent) => void
  >;
}

export function useDrag(ends: {
  /** The button went down. */
  begin: () => void;
  clicked: (x: number) => void;
  dragged: (from: number, to: number) => void;
}): Drag {
  const [at, setAt] = useState<number>();
  const [from, setFrom] = useState<number>();
  const down = useRef<number>(undefined);
  const xOf = (event: PointerEvent): number =>
    event.clientX - (event.currentTarget as HTMLElement).getBoundingClientRect().left;
  const over = (): void => {
    down.current = undefined;
    setFrom(undefined);
  };
  const isFar = (x: number): boolean =>
    down.current !== undefined && Math.abs(x - down.current) >= leastPixels;
  return {
    at,
    from,
    handlers: {
      onPointerDown: (event) => {
        if (event.button !== 0) return;
        (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
        down.current = xOf(event);
        ends.begin();
      },
      onPointerMove: (event) => {
        const x = xOf(event);
        setAt(x);
        if (isFar(x)) setFrom(down.current);
      },
      onPointerUp: (event) => {
        const [began, x] = [down.current, xOf(event)];
        if (began === undefined) return;
        if (isFar(x)) ends.dragged(began, x);
        else ends.clicked(x);
        over();
      },
      onPointerCancel: over,
      onPointerLeave: () => {
        setAt(undefined);
      },
    },
  };
}
