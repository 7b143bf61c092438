/** How a canvas on the page is painted again in another resolution, for pictures that are saved. */

export type Painter = (canvas: HTMLCanvasElement, ratio: number) => void;

const painters = new WeakMap<HTMLCanvasElement, Painter>();

export function setPainter(canvas: HTMLCanvasElement, painter: Painter): void {
  painters.set(canvas, painter);
}

/** The canvas' picture with `ratio` pixels to a pixel of the page; the canvas itself where it has no painter. */
export function paintedAt(canvas: HTMLCanvasElement, ratio: number): HTMLCanvasElement {
  const painter = painters.get(canvas);
  if (!painter) return canvas;
  const copy = document.createElement("canvas");
  painter(copy, ratio);
  return copy;
}
