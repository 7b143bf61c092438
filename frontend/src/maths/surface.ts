/** A grid as a surface in space: triangles, colours and lines for whatever draws them. */
import type { ColorMap } from "./color";
import type { Isoline } from "./contour";
import { valueAtIndex } from "./grid";

export interface SurfaceInput {
  readonly x: Float64Array;
  readonly y: Float64Array;
  /** `values[i * y.length + j]` belongs to `x[i]` and `y[j]`. */
  readonly values: Float64Array;
  readonly map: ColorMap;
  readonly place: (value: number) => number;
}

export interface SurfaceMesh {
  /** Three numbers a point: across and deep in [−½, ½], up in [0, 1] by its place in the range. */
  readonly positions: Float32Array;
  /** Red, green, blue in [0, 1] a point. */
  readonly colors: Float32Array;
  /** Two triangles a cell with four finite corners. */
  readonly indices: Uint32Array;
}

/** How axis values become places across (or deep): the longer axis fills [−½, ½]. */
export interface Extent {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
}

export function extentOf(x: Float64Array, y: Float64Array): Extent {
  const width = (x[x.length - 1] as number) - (x[0] as number);
  const depth = (y[y.length - 1] as number) - (y[0] as number);
  const aspect = width > 0 && depth > 0 ? Math.min(Math.max(width / depth, 0.5), 2) : 1;
  const [across, deep] = aspect >= 1 ? [1, 1 / aspect] : [aspect, 1];
  const along = (values: Float64Array, span: number, size: number) => (value: number) =>
    span > 0 ? size * ((value - (values[0] as number)) / span - 0.5) : 0;
  const deepwards = along(y, depth, deep);
  // The second axis points away from the reader, as it points up on the flat map.
  return { x: along(x, width, across), y: (value) => -deepwards(value) };
}

export function surfaceMesh({ x, y, values, map, place }: SurfaceInput): SurfaceMesh {
  const extent = extentOf(x, y);
  const [n0, n1] = [x.length, y.length];
  const positions = new Float32Array(n0 * n1 * 3);
  const colors = new Float32Array(n0 * n1 * 3);
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      const at = i * n1 + j;
      const value = values[at] as number;
      const up = Number.isFinite(value) ? place(value) : 0;
      positions.set([extent.x(x[i] as number), up, extent.y(y[j] as number)], at * 3);
      const entry = Math.round(up * 255) * 3;
      for (let channel = 0; channel < 3; channel++) {
        colors[at * 3 + channel] = linearLight((map.table[entry + channel] as number) / 255);
      }
    }
  }
  return { positions, colors, indices: cells(values, n0, n1) };
}

/** Contour lines as pairs of ends, a little above the surface so that they are not swallowed by it. */
export function surfaceLines(
  isolines: readonly Isoline[],
  x: Float64Array,
  y: Float64Array,
  place: (value: number) => number,
): Float32Array {
  const extent = extentOf(x, y);
  const ends: number[] = [];
  for (const { level, lines } of isolines) {
    const up = place(level) + 0.002;
    for (const line of lines) {
      for (let index = 1; index < line.length; index++) {
        for (const [column, row] of [line[index - 1], line[index]] as [number, number][]) {
          ends.push(extent.x(valueAtIndex(x, column)), up, extent.y(valueAtIndex(y, row)));
        }
      }
    }
  }
  return Float32Array.from(ends);
}

function cells(values: Float64Array, n0: number, n1: number): Uint32Array {
  const indices: number[] = [];
  for (let i = 0; i + 1 < n0; i++) {
    for (let j = 0; j + 1 < n1; j++) {
      const [a, b, c, d] = [i * n1 + j, (i + 1) * n1 + j, i * n1 + j + 1, (i + 1) * n1 + j + 1];
      if ([a, b, c, d].every((at) => Number.isFinite(values[at]))) indices.push(a, b, c, b, d, c);
    }
  }
  return Uint32Array.from(indices);
}

/** What lights are computed with, from what a screen shows (sRGB). */
function linearLight(share: number): number {
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}
