/** The values of a grid along a straight line through it. */
import { fractionalIndex } from "./grid";

/** From (x, y) to (x, y), in axis units. */
export type Cut = readonly [number, number, number, number];

export interface Profile {
  /** From 0 at the first end to 1 at the second, of the part that lies in the grid. */
  readonly share: Float64Array;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly values: Float64Array;
}

const SAMPLES = 129;

/**
 * The grid read along the line, linearly between its points, at evenly spaced places; null where the line misses the
 * grid. `values[i * y.length + j]` belongs to `x[i]` and `y[j]`. A place with a corner that is not finite is NaN.
 */
export function profile(x: Float64Array, y: Float64Array, values: Float64Array, cut: Cut): Profile | null {
  const span = insideOf(x, y, cut);
  if (!span) return null;
  const [from, to] = span;
  const share = Float64Array.from(
    { length: SAMPLES },
    (_, index) => from + ((to - from) * index) / (SAMPLES - 1),
  );
  const [x0, y0, x1, y1] = cut;
  const along = share.map((place) => x0 + place * (x1 - x0));
  const up = share.map((place) => y0 + place * (y1 - y0));
  return {
    share,
    x: along,
    y: up,
    values: share.map((_, at) => valueAt(x, y, values, along[at] ?? 0, up[at] ?? 0)),
  };
}

/** Linear between the four points around a place; a point on a grid line asks only those on it. */
export function valueAt(
  x: Float64Array,
  y: Float64Array,
  values: Float64Array,
  across: number,
  up: number,
): number {
  const [column, row] = [fractionalIndex(x, across), fractionalIndex(y, up)];
  const [i, j] = [Math.floor(column), Math.floor(row)];
  const [s, t] = [column - i, row - j];
  let sum = 0;
  for (const [di, dj, weight] of [
    [0, 0, (1 - s) * (1 - t)],
    [1, 0, s * (1 - t)],
    [0, 1, (1 - s) * t],
    [1, 1, s * t],
  ] as const) {
    if (weight > 0) sum += weight * (values[(i + di) * y.length + j + dj] as number);
  }
  return Number.isFinite(sum) ? sum : Number.NaN;
}

/** First and last share of the line that lies within the grid's points (Liang and Barsky, 1984). */
function insideOf(x: Float64Array, y: Float64Array, [x0, y0, x1, y1]: Cut): readonly [number, number] | null {
  let [from, to] = [0, 1];
  for (const [start, step, axis] of [
    [x0, x1 - x0, x],
    [y0, y1 - y0, y],
  ] as const) {
    const [low, high] = [axis[0] as number, axis[axis.length - 1] as number];
    if (step === 0) {
      if (start < low || start > high) return null;
      continue;
    }
    const ends = [(low - start) / step, (high - start) / step];
    from = Math.max(from, Math.min(...ends));
    to = Math.min(to, Math.max(...ends));
  }
  return from < to ? [from, to] : null;
}
