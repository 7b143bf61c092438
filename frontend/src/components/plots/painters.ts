/** How a canvas on the page is painted again in another resolution, for pictures that are saved. */

export interface VectorLine {
  /** An SVG path in pixels of the page. */
  readonly path: string;
  readonly stroke: string;
  readonly width: number;
}

export interface Painter {
  /** Paints with `ratio` pixels to a pixel of the page, with its lines or without them. */
  readonly paint: (canvas: HTMLCanvasElement, ratio: number, lines: boolean) => void;
  /** Its lines for a picture that can be enlarged without end. */
  readonly lines: () => readonly VectorLine[];
}

const painters = new WeakMap<HTMLCanvasElement, Painter>();

export function setPainter(canvas: HTMLCanvasElement, painter: Painter): void {
  painters.set(canvas, painter);
}

/** The canvas' picture with `ratio` pixels to a pixel of the page; the canvas itself where it has no painter. */
export function paintedAt(canvas: HTMLCanvasElement, ratio: number, lines = true): HTMLCanvasElement {
  const painter = painters.get(canvas);
  if (!painter) return canvas;
  const copy = document.createElement("canvas");
  painter.paint(copy, ratio, lines);
  return copy;
}

export function vectorLines(canvas: HTMLCanvasElement): readonly VectorLine[] {
  return painters.get(canvas)?.lines() ?? [];
}
