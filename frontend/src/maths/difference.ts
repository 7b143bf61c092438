/** How two slices differ, point by point of the first one. */
import { valueAt } from "./cut";
import { fractionalIndex, valueAtIndex } from "./grid";
import { fullRange, type ValueRange } from "./range";

export interface Difference {
  /** The second minus the first at the first one's points; NaN where the second does not reach. */
  readonly values: Float64Array;
  /** Of each value, as if the errors of both were independent; null where one has none or was read between its points. */
  readonly stderr: Float64Array | null;
  /** Whether the second was read between its points. */
  readonly interpolated: boolean;
}

interface Measured {
  readonly values: Float64Array;
  readonly stderr?: Float64Array | null;
}

/** Of two grids: `values[i * y.length + j]` belongs to `x[i]` and `y[j]`. */
export function gridDifference(
  first: Measured & { readonly axes: readonly [Float64Array, Float64Array] },
  second: Measured & { readonly axes: readonly [Float64Array, Float64Array] },
): Difference {
  const [x, y] = first.axes;
  const [u, v] = second.axes;
  const same = equal(x, u) && equal(y, v);
  const values = first.values.map((value, at) => {
    if (same) return (second.values[at] as number) - value;
    const [across, up] = [x[Math.floor(at / y.length)] as number, y[at % y.length] as number];
    return within(u, across) && within(v, up) ? valueAt(u, v, second.values, across, up) - value : Number.NaN;
  });
  return { values, stderr: same ? combined(first.stderr, second.stderr) : null, interpolated: !same };
}

/** Of two curves. */
export function curveDifference(
  first: Measured & { readonly x: Float64Array },
  second: Measured & { readonly x: Float64Array },
): Difference {
  const same = equal(first.x, second.x);
  const values = first.values.map((value, at) => {
    if (same) return (second.values[at] as number) - value;
    const place = first.x[at] as number;
    if (!within(second.x, place)) return Number.NaN;
    return valueAtIndex(second.values, fractionalIndex(second.x, place)) - value;
  });
  return { values, stderr: same ? combined(first.stderr, second.stderr) : null, interpolated: !same };
}

/** One range for all differences, as far below zero as above, so that the diverging map's middle is zero. */
export function symmetricRange(all: readonly Float64Array[]): ValueRange | null {
  const whole = fullRange(all.flatMap((values) => [...values]));
  if (!whole) return null;
  const reach = Math.max(Math.abs(whole.min), Math.abs(whole.max));
  return { ...whole, low: -reach, high: reach };
}

/** √(a² + b²) at each point. */
function combined(
  a: Float64Array | null | undefined,
  b: Float64Array | null | undefined,
): Float64Array | null {
  return a && b ? a.map((error, at) => Math.hypot(error, b[at] as number)) : null;
}

function equal(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function within(axis: Float64Array, place: number): boolean {
  return place >= (axis[0] as number) && place <= (axis[axis.length - 1] as number);
}
