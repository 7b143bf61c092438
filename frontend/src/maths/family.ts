/** Families of curves: `values[k * n + i]` is curve `k` at `x[i]`. */
import type { ScaleName } from "./color";
import { chosenRange, padded, type Tails, type ValueRange } from "./range";

/** First and last + 1 of the points within a share of the range around zero (or around the middle without a zero). */
export function boundedIndices(x: Float64Array, share: number): readonly [number, number] {
  const [first, last] = [x[0] ?? 0, x[x.length - 1] ?? 0];
  if (share >= 1 || x.length < 3) return [0, x.length];
  const middle = first <= 0 && last >= 0 ? 0 : (first + last) / 2;
  const slack = 1e-9 * (last - first);
  const low = middle - share * (middle - first) - slack;
  const high = middle + share * (last - middle) + slack;
  const start = x.findIndex((value) => value >= low);
  const end = x.findLastIndex((value) => value <= high) + 1;
  return end - start >= 2 ? [start, end] : [0, x.length];
}

/** Each curve's values between the two indices, without copying. */
export function familyMembers(
  values: Float64Array,
  points: number,
  [start, end]: readonly [number, number],
): Float64Array[] {
  return Array.from({ length: points > 0 ? values.length / points : 0 }, (_, curve) =>
    values.subarray(curve * points + start, curve * points + end),
  );
}

export interface CurveDomain {
  /** Of the values that are drawn; NaN where none is finite. */
  readonly low: number;
  readonly high: number;
  /** Whether values lie outside. */
  readonly clipped: boolean;
  /** With room at both ends. */
  readonly bounds: readonly [number, number];
}

/** The vertical range of one small plot: its own, or the one that all share. */
export function curveDomain(
  lines: readonly { readonly values: Float64Array }[],
  { scale, range }: { readonly scale: ScaleName; readonly range: "robust" | "full" },
  tails: Tails,
  shared: ValueRange | null,
): CurveDomain {
  const values = lines.flatMap((entry) => [...entry.values]);
  const found = shared ?? chosenRange(values, range, tails);
  if (!found) return { low: Number.NaN, high: Number.NaN, clipped: false, bounds: [0, 1] };
  const { low, high } = found;
  const clipped = low > found.min || high < found.max;
  if (scale === "log" && low > 0) {
    const [from, to] = padded(Math.log(low), Math.log(high));
    return { low, high, clipped, bounds: [Math.exp(from), Math.exp(to)] };
  }
  return { low, high, clipped, bounds: padded(low, high) };
}

/** How strongly a curve bends at the center: the second derivative of the parabola through the three points there. */
export function curvatureAtCenter(x: Float64Array, values: Float64Array): number {
  if (x.length < 3) return Number.NaN;
  const nearest = x.reduce(
    (best, place, index) => (Math.abs(place) < Math.abs(x[best] as number) ? index : best),
    0,
  );
  const middle = Math.min(Math.max(nearest, 1), x.length - 2);
  const [x0, x1, x2] = x.subarray(middle - 1, middle + 2) as unknown as [number, number, number];
  const [y0, y1, y2] = values.subarray(middle - 1, middle + 2) as unknown as [number, number, number];
  return (2 * ((y2 - y1) / (x2 - x1) - (y1 - y0) / (x1 - x0))) / (x2 - x0);
}

/** From the least to the greatest finite value; NaN where none is finite. */
export function reachOf(values: Float64Array): number {
  const finite = values.filter(Number.isFinite);
  return finite.length === 0 ? Number.NaN : Math.max(...finite) - Math.min(...finite);
}

/** `indices` by descending key, those without a key last, equal ones in their own order. */
export function descending(indices: readonly number[], key: (index: number) => number): number[] {
  const keys = new Map(indices.map((index) => [index, key(index)]));
  const rank = (index: number) => {
    const found = keys.get(index) ?? Number.NaN;
    return Number.isNaN(found) ? Number.NEGATIVE_INFINITY : found;
  };
  return indices.toSorted((a, b) => (rank(b) > rank(a) ? 1 : rank(b) < rank(a) ? -1 : 0));
}
