/** Ranges of values for axes and colours. Non-finite values never count. */
import { bisectRight } from "d3-array";

export interface ValueRange {
  /** What is drawn: everything outside is clipped to these. */
  readonly low: number;
  readonly high: number;
  /** Of the finite values. */
  readonly min: number;
  readonly max: number;
  readonly finite: number;
  readonly nonfinite: number;
}

/** Which ends may be clipped: a loss explodes upwards only, and its lowest values are what people look for. */
export type Tails = "high" | "both";

/** From the least to the greatest finite value; null where there is none. */
export function fullRange(values: Iterable<number>): ValueRange | null {
  const finite = finiteSorted(values);
  const { sorted } = finite;
  return sorted.length === 0
    ? null
    : describe(finite, sorted[0] as number, sorted[sorted.length - 1] as number);
}

/**
 * The full range without exploding ends, so that one corner does not flatten the rest. A plain bowl is shown whole.
 *
 * `high`: where three quarters of the values lie in the lowest tenth of the range, that quarter's reach is shown four
 * times over: up to the greatest value at or below min + 4·(q75 − min).
 * `both`: each end is clipped to the 2nd or 98th percentile where it lies further out than half of their distance.
 *
 * Nothing explodes that stays within twice the size of most values: the steep part of a curve that is flat elsewhere, or
 * flat but for rounding, is what there is to see.
 */
export function robustRange(values: Iterable<number>, tails: Tails): ValueRange | null {
  const finite = finiteSorted(values);
  const { sorted } = finite;
  if (sorted.length === 0) return null;
  const min = sorted[0] as number;
  const max = sorted[sorted.length - 1] as number;
  if (tails === "high") {
    const most = quantileOf(sorted, 0.75);
    const bulk = most - min;
    if (!(bulk > 0 && max - min > 10 * bulk && max - min > Math.abs(most))) return describe(finite, min, max);
    return describe(finite, min, sorted[bisectRight(sorted, min + 4 * bulk) - 1] as number);
  }
  const [low, high] = [quantileOf(sorted, 0.02), quantileOf(sorted, 0.98)];
  const reach = (high - low) / 2;
  const explodes = max - min > Math.max(Math.abs(low), Math.abs(high));
  if (!(reach > 0 && explodes)) return describe(finite, min, max);
  return describe(finite, low - min > reach ? low : min, max - high > reach ? high : max);
}

/** Linear between the two nearest of the sorted values, as numpy does by default. */
export function quantileOf(sorted: Float64Array, share: number): number {
  const place = (sorted.length - 1) * share;
  const before = Math.floor(place);
  const start = sorted[before] as number;
  return start + (place - before) * ((sorted[before + 1] ?? start) - start);
}

interface Finite {
  readonly sorted: Float64Array;
  readonly nonfinite: number;
}

function finiteSorted(values: Iterable<number>): Finite {
  const all = values instanceof Float64Array ? values : Float64Array.from(values);
  const sorted = all.filter(Number.isFinite).sort();
  return { sorted, nonfinite: all.length - sorted.length };
}

function describe({ sorted, nonfinite }: Finite, low: number, high: number): ValueRange {
  const min = sorted[0] as number;
  const max = sorted[sorted.length - 1] as number;
  return { ...measurable(low, high), min, max, finite: sorted.length, nonfinite };
}

const GREATEST = Number.MAX_VALUE;

/** These ends, or nearer ones to zero where their distance, with room at both, is more than a number can be. */
export function measurable(low: number, high: number): { readonly low: number; readonly high: number } {
  if (high - low <= 0.6 * GREATEST) return { low, high };
  return { low: Math.max(low, -0.4 * GREATEST), high: Math.min(high, 0.4 * GREATEST) };
}

/** What was asked of an array before: arrays of slices never change. */
const known = new WeakMap<Float64Array, Map<string, ValueRange | null>>();

/** The range that a reader asked for. An array must not be changed after it was given here. */
export function chosenRange(
  values: Iterable<number>,
  mode: "robust" | "full",
  tails: Tails,
): ValueRange | null {
  const found = () => (mode === "robust" ? robustRange(values, tails) : fullRange(values));
  if (!(values instanceof Float64Array)) return found();
  const ranges = known.get(values) ?? new Map<string, ValueRange | null>();
  known.set(values, ranges);
  const key = `${mode} ${tails}`;
  const range = ranges.has(key) ? (ranges.get(key) ?? null) : found();
  ranges.set(key, range);
  return range;
}

/**
 * The range with the bands of one standard error around the values in it. The error of a mean of losses is hardly
 * greater than the mean, so that a band does not flatten the curve as a value that explodes would. On a logarithmic axis a band may reach zero: down to a tenth of the range's low end.
 */
export function withBands(
  range: ValueRange,
  values: ArrayLike<number>,
  errors: ArrayLike<number>,
  log: boolean,
): ValueRange {
  const floor = log && range.low > 0 ? range.low / 10 : Number.NEGATIVE_INFINITY;
  let { low, high } = range;
  for (let index = 0; index < values.length; index++) {
    const [value, error] = [values[index] as number, errors[index] as number];
    if (!(value >= range.low && value <= range.high && Number.isFinite(Math.abs(value) + error))) continue;
    low = Math.min(low, Math.max(value - error, floor));
    high = Math.max(high, value + error);
  }
  return { ...range, ...measurable(low, high) };
}

/** The range with room at both ends, and never empty: what an axis needs. */
export function padded(low: number, high: number, share = 0.05): [number, number] {
  const room = high > low ? share * (high - low) : Math.abs(low) * 0.05 || 1;
  return [Math.max(low - room, -GREATEST), Math.min(high + room, GREATEST)];
}
