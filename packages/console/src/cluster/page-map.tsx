/** A space's pages as a picture: a dot for each, in rows; what is zero, unchanged, changed since another moment, or of the base image. */
import { useEffect, useRef } from 'preact/hooks';
import type { MapPicture } from '../inspect/messages.ts';
import { bytesText } from './text.ts';

/** Dots in a row; a dot stands for as many pages as make the picture at most so high. */
const columns = 256;
const maxRows = 256;
const dot = 3;
/** In the order of PageKind. Told apart by brightness as well as by colour. */
const kinds = [
  { name: 'zero', colour: [38, 43, 51] },
  { name: 'unchanged', colour: [90, 116, 150] },
  { name: 'changed', colour: [255, 196, 87] },
  { name: 'base image', colour: [88, 148, 104] },
  { name: 'cleared', colour: [214, 92, 92] },
] as const;
/** Which kind a dot shows that stands for several pages. */
const precedence = [2, 4, 1, 3, 0];

function draw(canvas: HTMLCanvasElement, map: MapPicture): void {
  const pages = map.kinds.length;
  const perDot = Math.ceil(pages / (columns * maxRows));
  const dots = Math.ceil(pages / perDot);
  const rows = Math.ceil(dots / columns);
  canvas.width = columns * dot;
  canvas.height = rows * dot;
  const context = canvas.getContext('2d');
  if (context === null) return;
  for (let n = 0; n < dots; n++) {
    const here = map.kinds.subarray(n * perDot, (n + 1) * perDot);
    const kind = precedence.find((each) => here.includes(each)) ?? 0;
    context.fillStyle = `rgb(${kinds[kind]!.colour.join(' ')})`;
    context.fillRect((n % columns) * dot, Math.floor(n / columns) * dot, dot, dot);
  }
}

export function PageMap({ map, label }: { map: MapPicture; label: string }) {
  const place = useRef<HTMLCanvasElement>(null);
  useEffect(() => draw(place.current!, map), [map]);
  const totals = kinds.map((_, kind) => map.kinds.reduce((sum, each) => sum + (each === kind ? 1 : 0), 0));
  return (
    <figure class="page-map">
      <figcaption>
        <strong>{map.space}</strong>{' '}
        {kinds.map(({ name, colour }, kind) =>
          totals[kind] === 0 ? null : (
            <span key={name} class="key">
              <i style={{ background: `rgb(${colour.join(' ')})` }} />
              {name} {bytesText(totals[kind]! * map.pageSize)}
            </span>
          ),
        )}
      </figcaption>
      <canvas ref={place} role="img" aria-label={label} />
    </figure>
  );
}
