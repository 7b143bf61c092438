/** The heat map's own picture on a canvas: cells, then contour lines, both through the zoom. */
import { type ColorMap, isLight } from "@/maths/color";
import type { DrawnLine } from "@/maths/contour-labels";
import { cellAt, fractionalIndex } from "@/maths/grid";
import { type Rgb, rasterize } from "@/maths/raster";
import type { Scale } from "@/maths/scale";
import type { VectorLine } from "./painters";

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
  /** In pixels, those of a level one after the other. */
  readonly lines: readonly DrawnLine[];
  readonly interpolate: boolean;
  /** Not zero where a cell is shaded for not differing from the center. */
  readonly shaded: Uint8Array | null;
  /** Not zero where a cell has a dot for having been filled in rather than evaluated. */
  readonly dotted: Float64Array | null;
  readonly hatch: readonly [Rgb, Rgb];
}

export function paintGrid(
  canvas: HTMLCanvasElement,
  picture: GridPicture,
  ratio: number,
  lines = true,
): void {
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
    shaded: picture.shaded,
    hatch: picture.hatch,
    period: Math.round(7 * ratio),
  });
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
  context.scale(ratio, ratio);
  if (picture.dotted) paintDots(context, picture, picture.dotted);
  if (!lines) return;
  context.lineWidth = 1;
  context.lineJoin = "round";
  for (const [level, lines] of byLevel(picture.lines)) {
    context.strokeStyle = lineColor(picture, level);
    context.stroke(linesOf(lines));
  }
}

/** The contour lines as vectors, in pixels of the page, `unit` to one of the picture. */
export function gridLines(picture: GridPicture, unit: number): VectorLine[] {
  return Array.from(byLevel(picture.lines), ([level, lines]) => ({
    path: linePath(lines, unit),
    stroke: lineColor(picture, level),
    width: unit,
  }));
}

function byLevel(lines: readonly DrawnLine[]): Map<number, DrawnLine[]> {
  const found = new Map<number, DrawnLine[]>();
  for (const line of lines) {
    const alike = found.get(line.level);
    if (alike) alike.push(line);
    else found.set(line.level, [line]);
  }
  return found;
}

function lineColor({ map, place }: GridPicture, level: number): string {
  return isLight(map, place(level)) ? "rgba(0,0,0,0.55)" : "rgba(255,255,255,0.7)";
}

/** As `linePath`, without the detour through text. */
function linesOf(lines: readonly DrawnLine[]): Path2D {
  const path = new Path2D();
  for (const { points } of lines) {
    points.forEach(([left, top], index) => {
      if (index === 0) path.moveTo(left, top);
      else path.lineTo(left, top);
    });
  }
  return path;
}

function linePath(lines: readonly DrawnLine[], unit: number): string {
  return lines
    .map(({ points }) =>
      points
        .map(
          ([left, top], index) =>
            `${index === 0 ? "M" : "L"}${Math.round(left * unit * 100) / 100},${Math.round(top * unit * 100) / 100}`,
        )
        .join(""),
    )
    .join("");
}

/** Cells smaller than this have no room for a dot. */
const MIN_CELL = 4;

function paintDots(context: CanvasRenderingContext2D, picture: GridPicture, dotted: Float64Array): void {
  const { x, y, xEdges, yEdges, xScale, yScale, width, height, map, place, values } = picture;
  const size = Math.min(
    Math.abs(xScale(xEdges[1] as number) - xScale(xEdges[0] as number)),
    Math.abs(yScale(yEdges[1] as number) - yScale(yEdges[0] as number)),
  );
  if (size < MIN_CELL) return;
  for (let i = 0; i < x.length; i++) {
    const left = xScale(x[i] as number);
    if (left < 0 || left > width) continue;
    for (let j = 0; j < y.length; j++) {
      const at = i * y.length + j;
      const top = yScale(y[j] as number);
      if (!dotted[at] || top < 0 || top > height) continue;
      context.fillStyle = isLight(map, place(values[at] as number))
        ? "rgba(0,0,0,0.5)"
        : "rgba(255,255,255,0.6)";
      context.beginPath();
      context.arc(left, top, Math.min(size / 6, 1.5), 0, 2 * Math.PI);
      context.fill();
    }
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
