/** The heat map's own picture on a canvas: cells, then contour lines, both through the zoom. */
import { type ColorMap, isLight } from "@/maths/color";
import type { Isoline } from "@/maths/contour";
import { cellAt, fractionalIndex, valueAtIndex } from "@/maths/grid";
import { type Rgb, rasterize } from "@/maths/raster";
import type { Scale } from "@/maths/scale";

export interface GridPicture {
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly xEdges: Float64Array;
  readonly yEdges: Float64Array;
  /** `values[i * y.length + j]` belongs to `x[i]` and `y[j]`. */
  readonly values: Float64Array;
  /** Axis values to pixels of the canvas before the device's pixel ratio. */
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly width: number;
  readonly height: number;
  readonly map: ColorMap;
  readonly place: (value: number) => number;
  readonly isolines: readonly Isoline[];
  readonly interpolate: boolean;
  readonly hatch: readonly [Rgb, Rgb];
}

export function paintGrid(canvas: HTMLCanvasElement, picture: GridPicture, ratio: number): void {
  const width = Math.round(picture.width * ratio);
  const height = Math.round(picture.height * ratio);
  if (width < 1 || height < 1) return;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  const pixels = rasterize({
    values: picture.values,
    n1: picture.y.length,
    columns: indices(
      width,
      (pixel) => picture.xScale.invert((pixel + 0.5) / ratio),
      picture.x,
      picture.xEdges,
    ),
    rows: indices(height, (pixel) => picture.yScale.invert((pixel + 0.5) / ratio), picture.y, picture.yEdges),
    map: picture.map,
    place: picture.place,
    interpolate: picture.interpolate,
    hatch: picture.hatch,
    period: Math.round(7 * ratio),
  });
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
  context.scale(ratio, ratio);
  context.lineWidth = 1;
  context.lineJoin = "round";
  for (const isoline of picture.isolines) {
    context.strokeStyle = isLight(picture.map, picture.place(isoline.level))
      ? "rgba(0,0,0,0.55)"
      : "rgba(255,255,255,0.7)";
    context.beginPath();
    for (const points of isoline.lines) {
      points.forEach(([column, row], index) => {
        const left = picture.xScale(valueAtIndex(picture.x, column));
        const top = picture.yScale(valueAtIndex(picture.y, row));
        if (index === 0) context.moveTo(left, top);
        else context.lineTo(left, top);
      });
    }
    context.stroke();
  }
}

/** For each pixel its fractional index, which rounds to the cell that holds it; NaN outside. */
function indices(
  count: number,
  valueAt: (pixel: number) => number,
  values: Float64Array,
  edges: Float64Array,
): Float64Array {
  return Float64Array.from({ length: count }, (_, pixel) => {
    const value = valueAt(pixel);
    return cellAt(edges, value) < 0 ? Number.NaN : fractionalIndex(values, value);
  });
}
