/** The range of what several slices draw on one axis: their values, their bands, and those of all their directions. */
import type { ScaleName } from "@/maths/color";
import { chosenRange, measurable, type ValueRange, withBands } from "@/maths/range";
import { tailsOf } from "./describe";
import type { Series, SliceData } from "./slice";

export interface RangeChoice {
  readonly mode: "robust" | "full";
  /** The scale of the axis where standard errors are drawn as bands; null where they are not. */
  readonly band: ScaleName | null;
}

type Drawn = Pick<SliceData, "series">;

/** Tells which series share the axis of a slice: its main one's metric, of each split that it shows. */
export function axisOf({ series: [main, ...rest] }: Drawn): string {
  const splits = rest.filter(({ name }) => name === main.name).map(({ split }) => split);
  return JSON.stringify([main.name, main.split, ...splits]);
}

/** The range of the series of these slices that belong on the axis; null where none has a finite value. */
export function rangeOfSlices(
  slices: readonly Drawn[],
  axis: string,
  choice: RangeChoice,
): ValueRange | null {
  const [name, ...splits] = JSON.parse(axis) as string[];
  const found = slices
    .flatMap(({ series }) => series)
    .filter((series) => series.name === name && splits.includes(series.split));
  return unionOf(found.flatMap((series) => rangeOf(series, choice) ?? []));
}

export function unionOf(ranges: readonly ValueRange[]): ValueRange | null {
  return ranges.reduce<ValueRange | null>((whole, range) => (whole ? union(whole, range) : range), null);
}

export function union(a: ValueRange, b: ValueRange): ValueRange {
  return {
    ...measurable(Math.min(a.low, b.low), Math.max(a.high, b.high)),
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
    finite: a.finite + b.finite,
    nonfinite: a.nonfinite + b.nonfinite,
  };
}

function rangeOf(series: Series, { mode, band }: RangeChoice): ValueRange | null {
  const { values, stderr, spread } = series;
  const all = spread ? [...values, ...spread.low, ...spread.high] : values;
  const range = chosenRange(all, mode, tailsOf(series));
  return range && band && stderr ? withBands(range, values, stderr, band === "log") : range;
}
