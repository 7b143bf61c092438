/** How two slices differ, point by point of the first one. */
import { valueAt } from "./cut";
import { fractionalIndex, valueAtIndex } from "./grid";
import { fullRange, type ValueRange } from "./range";

export interface Difference {
  /** The second minus the first at the first one's points; NaN where the second does not reach. */
  readonly values: Float64Array;
  /** Whether the second was read between its points. */
  readonly interpolated: boolean;
}

/** Of two grids: `values[i * y.length + j]` belongs to `x[i]` and `y[j]`. */
export function gridDifference(
  first: { readonly axes: readonly [Float64Array, Float64Array]; readonly values: Float64Array },
  second: { readonly axes: readonly [Float64Array, Float64Array]; readonly values: Float64Array },
): Difference {
  const [x, y] = first.axes;
  const [u, v] = second.axes;
  const same = equal(x, u) && equal(y, v);
  const values = first.values.map((value, at) => {
    if (same) return (second.values[at] as number) - value;
    const [across, up] = [x[Math.floor(at / y.length)] as number, y[at % y.length] as number];
    return within(u, across) && within(v, up) ? valueAt(u, v, second.values, across, up) - value : Number.NaN;
  });
  return { values, interpolated: !same };
}

/** Of two curves. */
export function curveDifference(
  first: { readonly x: Float64Array; readonly values: Float64Array },
  second: { readonly x: Float64Array; readonly values: Float64Array },
): Difference {
  const same = equal(first.x, second.x);
  const values = first.values.map((value, at) => {
    if (same) return (second.values[at] as number) - value;
    const place = first.x[at] as number;
    if (!within(second.x, place)) return Number.NaN;
    return valueAtIndex(second.values, fractionalIndex(second.x, place)) - value;
  });
  return { values, interpolated: !same };
}

/** One range for all differences, as far below zero as above, so that the diverging map's middle is zero. */
export function symmetricRange(all: readonly Float64Array[]): ValueRange | null {
  const whole = fullRange(all.flatMap((values) => [...values]));
  if (!whole) return null;
  const reach = Math.max(Math.abs(whole.min), Math.abs(whole.max));
  return { ...whole, low: -reach, high: reach };
}

function equal(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function within(axis: Float64Array, place: number): boolean {
  return place >= (axis[0] as number) && place <= (axis[axis.length - 1] as number);
}
