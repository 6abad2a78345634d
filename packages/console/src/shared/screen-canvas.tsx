/** A guest's screen: drawn as it changes; while it has the focus the keyboard is the guest's, and after a click the pointer too. */
import { tabletPlace } from '@revenant/emulator';
import { useEffect, useRef } from 'preact/hooks';

export interface Picture {
  width: number;
  height: number;
  /** Red, green, blue, alpha of each pixel, row by row. */
  rgba: Uint8ClampedArray<ArrayBuffer>;
}

export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Undefined: there is no picture; `changed`: what of it is new, by default all. */
export type Draw = (picture: Picture | undefined, changed?: readonly Rectangle[]) => void;

export interface PointerMove {
  dx: number;
  dy: number;
  dz: number;
  /** Bit 0 left, 1 right, 2 middle. */
  buttons: number;
}

/** A place on the screen: 0 to 32767 from the left and from the top. */
export interface PointerPlace {
  x: number;
  y: number;
  dz: number;
  /** As with `PointerMove`. */
  buttons: number;
}

/** What takes keys and, where the guest has one, moves its pointer. */
export interface TakesKeys {
  /** A key by its DOM `code`. */
  key(code: string, pressed: boolean): void;
}

/** What shows pictures and takes keys; made once for each guest. */
export interface Display extends TakesKeys {
  /** Calls `draw` with the picture whenever it changed, at once with the last one. Gives a function that ends it. */
  watch(draw: Draw): () => void;
  /** Absent where the guest has no pointer. */
  pointer?(move: PointerMove): void;
  /** The guest's pointer goes to the place that it is told; else it takes movements, for which the page has to catch the person's. */
  readonly takesPlaces?: boolean;
  point?(place: PointerPlace): void;
}

/** Puts a picture, or what changed of it, on a canvas of the same size. */
export function drawPicture(
  canvas: HTMLCanvasElement,
  { width, height, rgba }: Picture,
  changed?: readonly Rectangle[],
): void {
  const isNew = canvas.width !== width || canvas.height !== height;
  if (isNew) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext('2d');
  const image = new ImageData(rgba, width, height);
  if (changed === undefined || isNew) context?.putImageData(image, 0, 0);
  else for (const { x, y, width: w, height: h } of changed) context?.putImageData(image, 0, 0, x, y, w, h);
}

/** Where on its picture an event is, whatever size the page shows it in. */
function placeOn(canvas: HTMLCanvasElement, { clientX, clientY }: MouseEvent): { x: number; y: number } {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return { x: tabletPlace(clientX - left, width), y: tabletPlace(clientY - top, height) };
}

/** The pointer is the guest's until Escape. A browser that has just taken it back, or has no such thing (a phone), refuses: then it stays the person's. */
async function lockPointer(canvas: HTMLCanvasElement): Promise<void> {
  try {
    await canvas.requestPointerLock();
  } catch {
    canvas.focus();
  }
}

/** Not further than this, and no longer, is a touch a click. */
const tapPixels = 8;
const tapMs = 300;

/** A finger is on a touchpad: the pointer moves as it does, and a short touch is a click. */
function giveTouches(
  canvas: HTMLCanvasElement,
  move: (move: PointerMove) => void,
  signal: AbortSignal,
): void {
  let finger: { id: number; x: number; y: number; way: number; since: number } | undefined;
  canvas.addEventListener(
    'pointerdown',
    ({ pointerType, pointerId: id, clientX: x, clientY: y, timeStamp: since }) => {
      if (pointerType !== 'mouse') finger ??= { id, x, y, way: 0, since };
    },
    { signal },
  );
  canvas.addEventListener(
    'pointermove',
    ({ pointerId, clientX, clientY }) => {
      if (finger?.id !== pointerId) return;
      const [dx, dy] = [Math.round(clientX - finger.x), Math.round(clientY - finger.y)];
      if (dx === 0 && dy === 0) return;
      finger = { ...finger, x: finger.x + dx, y: finger.y + dy, way: finger.way + Math.hypot(dx, dy) };
      move({ dx, dy, dz: 0, buttons: 0 });
    },
    { signal },
  );
  const lift = ({ pointerId, type, timeStamp }: PointerEvent): void => {
    if (finger?.id !== pointerId) return;
    const isTap = type === 'pointerup' && finger.way < tapPixels && timeStamp - finger.since < tapMs;
    finger = undefined;
    if (isTap) for (const buttons of [1, 0]) move({ dx: 0, dy: 0, dz: 0, buttons });
  };
  canvas.addEventListener('pointerup', lift, { signal });
  canvas.addEventListener('pointercancel', lift, { signal });
}

/** Gives the pointer of a canvas to a display. */
function givePointer(canvas: HTMLCanvasElement, display: Display, signal: AbortSignal): void {
  const { pointer } = display;
  if (pointer === undefined) return;
  giveTouches(
    canvas,
    (touched) => {
      // Where it goes to a place a tap is the click that the browser makes of it.
      if (display.takesPlaces !== true) pointer.call(display, touched);
    },
    signal,
  );
  const move = (event: MouseEvent, dz = 0): void => {
    const buttons = event.buttons & 7;
    if (display.takesPlaces === true) {
      event.preventDefault();
      if (document.pointerLockElement === canvas) document.exitPointerLock();
      return display.point?.({ ...placeOn(canvas, event), dz, buttons });
    }
    if (document.pointerLockElement !== canvas) return;
    event.preventDefault();
    pointer.call(display, { dx: event.movementX, dy: event.movementY, dz, buttons });
  };
  canvas.addEventListener('mousemove', (event) => move(event), { signal });
  canvas.addEventListener('mouseup', (event) => move(event), { signal });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault(), { signal });
  canvas.addEventListener('wheel', (event) => move(event, Math.sign(event.deltaY)), {
    signal,
    passive: false,
  });
  canvas.addEventListener(
    'mousedown',
    (event) => {
      if (display.takesPlaces === true) canvas.focus();
      if (display.takesPlaces === true || document.pointerLockElement === canvas) move(event);
    },
    { signal },
  );
  canvas.addEventListener(
    'pointerdown',
    ({ pointerType }) => {
      const isCaught = display.takesPlaces === true || document.pointerLockElement === canvas;
      if (pointerType === 'mouse' && !isCaught) void lockPointer(canvas);
    },
    { signal },
  );
}

/** Gives keys and pointer of a canvas to a display; returns what ends it. */
function giveInputs(canvas: HTMLCanvasElement, display: Display): () => void {
  const over = new AbortController();
  const { signal } = over;
  const held = new Set<string>();
  const key = (event: KeyboardEvent, pressed: boolean): void => {
    event.preventDefault();
    if (event.repeat) return;
    if (pressed) held.add(event.code);
    else held.delete(event.code);
    display.key(event.code, pressed);
  };
  canvas.addEventListener('keydown', (event) => key(event, true), { signal });
  canvas.addEventListener('keyup', (event) => key(event, false), { signal });
  // Keys that are let go elsewhere would stay pressed for ever.
  canvas.addEventListener(
    'blur',
    () => {
      for (const code of held) display.key(code, false);
      held.clear();
    },
    { signal },
  );
  givePointer(canvas, display, signal);
  return () => over.abort();
}

export function ScreenCanvas({ display, label }: { display: Display; label: string }) {
  const place = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const canvas = place.current!;
    const unwatch = display.watch((picture, changed) => {
      if (picture !== undefined) drawPicture(canvas, picture, changed);
    });
    const endInputs = giveInputs(canvas, display);
    return () => {
      unwatch();
      endInputs();
    };
  }, [display]);
  return (
    <div class="screen">
      <canvas ref={place} tabIndex={0} role="img" aria-label={label} width={720} height={400} />
    </div>
  );
}
